# make demo: the main job, end to end · make test: the tests that take seconds · .ci/run: everything that must hold
# make matrix: the whole product that .ci/run covers pairwise · make gpu: checks and timings on a GPU
# make exhaustive: the tests that .ci/run leaves out, which take an hour
# make features: the page of what each backbone does, from the tests that show it
# make peers: steps beside those of other packages, each in an environment of its own
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test exhaustive lint types bench matrix features gpu peers clean

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

exhaustive: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile -m exhaustive

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy -p halocline

bench: $(STAMP)
	$(BIN)/python -m pytest benchmarks --benchmark-only

# Every backbone on every backend, in every dtype, division and host; goes on where it stopped.
matrix: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m matrix --output docs/measured/matrix/cpu.json

features: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m features

peers: $(STAMP)
	PYTHONPATH=benchmarks $(BIN)/python -m peers.environments
	PYTHONPATH=benchmarks $(BIN)/python -m peers --output docs/measured/peers/cpu.json \
	  --table docs/measured/peers/cpu.md --plot docs/measured/peers/cpu.png

gpu:
	bash benchmarks/gpu.sh --output docs/measured/gpu/gpu.json

clean:
	rm -rf .gpu $(VENV) .editable dist .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis demo-output

# Installed anew when what is installed, or how, has changed; a new file at the top of core/ needs a new link.
$(STAMP): pyproject.toml constraints.txt hatch_build.py core
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Halocline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Installing Halocline into $(VENV); the first time this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
