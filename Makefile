# `make` alone lists the commands.
.DEFAULT_GOAL := help
.PHONY: help run check test test-es8 hostile mutants soak lint format bench bench-search bench-web pictures package clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ES8 := $(VENV)-es8
ES8_SERVER := 8.19.21
EXAMPLE := var/pages

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(BIN)/.run $(EXAMPLE) ## run the service over example pages that change now and then, until Ctrl-C
	@CACHESYNC_HTTP__PORT=0 CACHESYNC_LOG__FORMAT=console $(BIN)/python -m examples.live $(EXAMPLE) $(BIN)/cachesync run

check: lint ## run what takes less than four minutes: the linters, and the tests that need no server
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not server' tests/unit tests/contract

test: $(BIN)/.test ## run all tests (TESTS="-m surroundings" for some)
	$(BIN)/python -m pytest -n 3 --dist worksteal $(TESTS)

test-es8: $(ES8)/.test ## run the contract suite with the client and the server of Elasticsearch 8.19, secured too
	CACHESYNC_TEST_ELASTICSEARCH_VERSION=$(ES8_SERVER) $(ES8)/bin/python -m pytest -n 3 --dist worksteal \
	  tests/contract tests/system/test_security.py tests/unit/test_tls.py -k 'not embedded'

hostile: $(BIN)/.test ## try for about half an hour to break each promise (docs/promises.md)
	CACHESYNC_TEST_THOROUGH=1 $(BIN)/python -m pytest -n 8 --dist worksteal tests/hostile \
	  tests/system/test_openapi.py tests/system/test_page_hostile.py

mutants: $(BIN)/.test ## plant defects in a copy one by one, and see that the tests catch each (DEFECTS="lease 429" for some)
	$(BIN)/python -m tests.hostile.mutants $(DEFECTS)

soak: $(BIN)/.test ## run the service under load and faults for MINUTES=20 with each engine, and see that nothing grows
	$(BIN)/python -m tests.hostile.soak --minutes $(or $(MINUTES),20) $(SOAK)

lint: $(BIN)/.lint $(BIN)/.test ## run all linters
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(BIN)/.lint ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BIN)/.test ## measure a page, sync, reindex and the service beside the least that could do the same (BENCH="--tags 4" for a short run)
	$(BIN)/python -m benchmarks.bench $(BENCH)

bench-search: $(BIN)/.test ## measure how often what people type finds the package that they mean (SEARCH="--failures tuned")
	$(BIN)/python -m benchmarks.search $(SEARCH)

bench-web: $(BIN)/.test ## measure page and API under load, and what the sync notices of it (WEB="--tags 4 --seconds 10" for a short run)
	$(BIN)/python -m benchmarks.web $(WEB)

pictures: $(BIN)/.test ## draw the pictures of README and docs from the running product, by chromium (PICTURES="search" for some)
	$(BIN)/python -m docs.pictures $(PICTURES)

package: $(BIN)/.test ## build wheel and sdist, install each where nothing else is, and try it
	$(BIN)/python -m tests.package

clean: ## remove what was installed and made
	rm -rf $(VENV) $(ES8) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

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

$(ES8)/.test: pyproject.toml constraints.txt constraints-es8.txt
	$(PYTHON) -m venv $(ES8)
	grep -v '^elastic' constraints.txt > $(ES8)/constraints.txt
	$(ES8)/bin/python -m pip install --quiet --disable-pip-version-check -c $(ES8)/constraints.txt -c constraints-es8.txt -e '.[test,es8]'
	@touch $@

$(BIN)/.lint: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lint]'
	@touch $@ $(BIN)/.run
