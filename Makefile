# Every target makes what it needs; Python >= 3.11 and git are enough.
#   make run         train, calibrate, evaluate and try a small guard (SERVE=1 keeps serving)
#   make test        the default test suite
#   make test-slow   the tests that need the embedded model, a cluster, other packages or more time
#   make check       lint, types, layers, spelling, generated files
#   make docs        the documentation site, into site/
#   make bench       every benchmark at its tiny size (SIZE=full for the real ones)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SIZE ?= tiny
SERVE ?= 0

# OpenMP threads that spin while they wait make two busy cores slower than one.
export GOMP_SPINCOUNT ?= 0
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run test test-slow check docs bench clean

run: $(VENV)/.run
	BIN=$(BIN) SERVE=$(SERVE) bash runs/quickstart.sh

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q
	$(BIN)/python -m pytest -q -m device tests/device

test-slow: $(VENV)/.dev
	CUSTODES_TEST_ENVIRONMENTS=1 $(BIN)/python -m pytest -q -m 'slow or environment'

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

docs: $(VENV)/.docs
	$(BIN)/zensical build

bench: $(VENV)/.dev
	for run in benchmarks/*/run.py; do $(BIN)/python $$run --size $(SIZE) || exit 1; done

clean:
	rm -rf $(VENV) out site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# torch first and alone: asked for by name and version, pip takes the CPU build.
$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[server]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable '.[server,otel,postgres,ray,train,rl,plots,review]' --group test --group lint
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group docs
	touch $@
