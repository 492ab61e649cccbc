# MetaSweep. `make` alone shows the targets.

PYTHON ?= python3
# What `make sweep` runs: a packaged sweep or a file. ORCHESTRATE_HOME says where it is recorded.
SPEC ?= quickstart

BIN := .venv/bin
STAMP := .venv/.metasweep-setup

.DEFAULT_GOAL := help
.PHONY: help setup sweep test check bench clean

help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## Make .venv with everything in it; nothing to do when it is up to date

# The stamp is written last, so an interrupted setup is begun again.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is not there; install Python 3.11 or later, or say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$($(PYTHON) --version) is too old; install Python 3.11 or later, or say make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: setup  ## Run the sweep SPEC (default quickstart) into ORCHESTRATE_HOME (default ./runs)
	$(BIN)/orchestrate sweep $(SPEC)

test: setup  ## Run the tests
	$(BIN)/python -m pytest -n 2

check: setup  ## Lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup  ## Run every benchmarks/*.py, one after another, but for chaos.py and search.py (half an hour each)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@set -e; ran=; for file in benchmarks/*.py; do \
	  if [ -e "$$file" ] && [ "$$file" != benchmarks/chaos.py ] && [ "$$file" != benchmarks/search.py ]; then ran=1; echo "== $$file"; $(BIN)/python "$$file"; fi; \
	done; [ -n "$$ran" ] || { echo "bench: there is no benchmarks/*.py" >&2; exit 1; }

clean:  ## Remove build products and caches; .venv, runs/ and data stay
	@for path in build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	    $$(find orchestrator trainers sweeps tests benchmarks -type d -name __pycache__); do \
	  if [ -e "$$path" ]; then echo "removing $$path"; rm -rf "$$path"; fi; \
	done
