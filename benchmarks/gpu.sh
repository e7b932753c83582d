#!/usr/bin/env bash
# Check and time Halocline on one GPU, offline: bash benchmarks/gpu.sh --output FILE [options of gpu/__main__.py]
#
# Needs a Python with torch, NumPy, SciPy, safetensors, rich and filelock, as GPU machines have it; PYTHON names it.
# What else is needed comes from .wheels, which `bash benchmarks/gpu.sh --fetch` fills where there is a package index
# (for Python 3.12 on x86-64). Nothing outside of .gpu is written but the JSON file that --output names.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

if [ "${1:-}" = --fetch ]; then
  exec "$PYTHON" -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    -c constraints.txt -d .wheels \
    ase platformdirs pluggy pymetis hatchling packaging pathspec trove-classifiers
fi

rm -rf .gpu && mkdir .gpu
"$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target .gpu/site .wheels/*.whl
export PYTHONPATH="$PWD/.gpu/site:$PWD/benchmarks"
"$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-build-isolation --target .gpu/site .
export HALOCLINE_CACHE_DIR="$PWD/.gpu/cache" PYTHONUNBUFFERED=1
exec "$PYTHON" -m gpu "$@"
