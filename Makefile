# Two commands are all a newcomer needs: make demo · make test.
PY ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.edgekit-installed

.PHONY: demo test check test-all bench clean
