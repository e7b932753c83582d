#!/usr/bin/env bash
# The main job through the public command line: a MACE of liquid water, a SchNet beside it, and a universal model for
# a crystal, which CRYSTAL names.
set -euo pipefail
cd "$(dirname "$0")/.."
out=demo-output
model=water-revpbe0d3-mace
crystal=${CRYSTAL:-examples/magnesium_oxide.cif}
mkdir -p "$out"

echo "== the zoo"
halocline zoo list
echo "== energy, forces and stress of 64 water molecules"
halocline run examples/water.extxyz -m "$model" -o "$out/water-evaluated.extxyz" --overwrite
echo "== the same from ONNX Runtime"
halocline run examples/water.extxyz -m "$model" --backend onnx
echo "== the same from the program for IPUs, on the CPU"
halocline run examples/water.extxyz -m "$model" --backend ipu:target=cpu
echo "== the same in four parts, and in two that exchange their halos"
halocline run examples/water.extxyz -m "$model" --partition rcb:4
halocline run examples/water.extxyz -m "$model" --partition rcb:2 --halo exchange
echo "== the same from two ranks"
halocline run examples/water.extxyz -m "$model" --backend ddp:ranks=2
echo "== 1 ps at 300 K, with radial functions from tables"
halocline md examples/water.extxyz -m "$model" --compress --ensemble nvt --thermostat bussi --temperature 300 \
  --timestep 0.5 --time 1 --output "$out/water-nvt" --overwrite --plot
echo "== the 64 molecules with a SchNet of the same data, which is the model where -m names none"
halocline run examples/water.extxyz
echo "== a universal model out of the package index, for any crystal: $crystal, evaluated and relaxed with its cell"
halocline zoo pull 7net-0
halocline run "$crystal" -m 7net-0
halocline relax "$crystal" -m 7net-0 --cell -o "$out/crystal.extxyz" --overwrite
echo "== written"
ls -1 "$out"
