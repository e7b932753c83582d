#!/usr/bin/env bash
# The main job through the public command line: the default model on liquid water.
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
echo "== 1 ps at 300 K"
halocline md examples/water.extxyz --ensemble nvt --thermostat bussi --temperature 300 \
  --timestep 0.5 --time 1 --output "$out/water-nvt" --overwrite --plot
echo "== written"
ls -1 "$out"
