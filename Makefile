# `make` alone lists the commands.
.DEFAULT_GOAL := help
.PHONY: help run test lint format bench clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE := var/pages

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(BIN)/.run $(EXAMPLE) ## run the service over example pages that change now and then, until Ctrl-C
	@CACHESYNC_HTTP__PORT=0 CACHESYNC_LOG__FORMAT=console $(BIN)/python -m examples.live $(EXAMPLE) $(BIN)/cachesync run

test: $(BIN)/.test ## run all tests
	$(BIN)/python -m pytest -n 2

lint: $(BIN)/.lint $(BIN)/.test ## run all linters
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(BIN)/.lint ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BIN)/.run ## measure a page, sync, reindex and the service beside the least that could do the same (BENCH="--tags 4" for a short run)
	$(BIN)/python -m benchmarks.bench $(BENCH)

clean: ## remove what was installed and made
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(EXAMPLE): $(BIN)/.run
	$(BIN)/python -m examples.pages $@
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cachesync needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(BIN)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(BIN)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(BIN)/.run

$(BIN)/.lint: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lint]'
	@touch $@ $(BIN)/.run
