# Two commands are all a newcomer needs: make demo · make test.
PY   ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN  := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV  := $(VENV)/.installed-dev
# torch has a line of its own: a build that is already there, such as the one for the CPU, is kept
PIP  := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint check test-all bench pmnist docs clean

help:
	@echo "make demo      convert the HAR models, run them on an emulated Raspberry Pi 4 and watch, and stream through the watch"
	@echo "make test      every test but the sweeps"
	@echo "make check     ruff, mypy --strict, import contracts, fast tests"
	@echo "make test-all  the sweeps too: all floats, golden files on every core"
	@echo "make bench     peers side by side, in one run"
	@echo "make docs      generated pages, and the site of the documentation in site/"
	@echo "make pmnist    permuted MNIST learned continually; goes on where it was interrupted"

$(BIN)/pip:
	$(PY) -m venv $(VENV)

$(DEMO): $(BIN)/pip pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) -e ".[convert,emulate]"
	@touch $@

$(DEV): $(BIN)/pip pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) -e ".[dev]"
	@touch $@ $(DEMO)

demo: $(DEMO)
	$(BIN)/python -m examples.har.demo

# tests run in two processes already: threads of numpy and torch would only wait for each other, and count as CPU time
test check test-all: export OMP_NUM_THREADS ?= 1

test: $(DEV)
	$(BIN)/pytest -q -n 2

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/pytest -q -n 2 -m "not slow"

test-all: $(DEV)
	EDGEKIT_SWEEPS=1 $(BIN)/pytest -q -n 2

bench: $(DEV)
	$(BIN)/python -m edgekit.bench

pmnist: $(DEV)
	$(BIN)/python -m tools.pmnist

docs: $(DEV)
	$(BIN)/python -m tools.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site .cache
