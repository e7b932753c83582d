#!/usr/bin/env bash
# The main job through the public command line: two models of liquid water.
set -euo pipefail
cd "$(dirname "$0")/.."
out=demo-output
mkdir -p "$out"

echo "== the zoo"
halocline zoo list
echo "== energy, forces and stress of 64 water molecules"
halocline run examples/water.extxyz -o "$out/water-evaluated.extxyz" --overwrite
echo "== the same from ONNX Runtime"
halocline run examples/water.extxyz --backend onnx
echo "== the same in four parts"
halocline run examples/water.extxyz --partition rcb:4
echo "== the same molecules with a MACE, and 0.05 ps of dynamics"
halocline run examples/water.extxyz -m water-revpbe0d3-mace --partition rcb:2 --halo exchange
halocline md examples/water.extxyz -m water-revpbe0d3-mace --ensemble nvt --thermostat bussi --temperature 300 \
  --timestep 0.5 --time 0.05 --output "$out/water-mace" --overwrite
echo "== 1 ps at 300 K with the default model"
halocline md examples/water.extxyz --ensemble nvt --thermostat bussi --temperature 300 \
  --timestep 0.5 --time 1 --output "$out/water-nvt" --overwrite --plot
echo "== written"
ls -1 "$out"
