# Two commands, each doing its own set-up: `make run` starts a demo gateway, `make test` runs every check.

SHELL := /bin/sh
export PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PORT DIAG_PORT
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SOURCES := $(shell find gateway twisted -name '*.py' -o -name '*.typed') setup.cfg pyproject.toml
BIN := .venv/bin
E2E := tests/e2e

.PHONY: help run test setup lint types imports unit asyncio format nightly clean
.DEFAULT_GOAL := help

help:
	@echo "make run      start a demo gateway on ports 8050 and 8051 (others: make run PORT=9050 DIAG_PORT=9051)"
	@echo "make test     linters, types, import rules and all tests"
	@echo "make nightly  the property tests with many more examples; many more changes, kills and faults of the outbox"
	@echo "make bench    measure against a plain Klein program, some seven minutes; bench-quick: the main rows in a good one"
	@echo "make soak     streams under churn, faults and kills for MINUTES=10"
	@echo "make format   put the sources into the project's layout"
	@echo "make clean    remove what the others made"

# --- make run -------------------------------------------------------------------------------------------------------

run: .run/venv/installed
	@etc/demo/run

.run/venv/installed: $(SOURCES)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@etc/setup/debian venv curl
	@echo "Setting up .run/venv (about a minute the first time)"
	@test -x .run/venv/bin/pip || { rm -rf .run/venv && "$(PYTHON)" -m venv .run/venv; }
	@rm -rf build  # what an older build left there would be installed too
	@.run/venv/bin/pip install --quiet .
	@rm -rf build
	@touch $@

# --- make test ------------------------------------------------------------------------------------------------------

test: setup lint types imports unit asyncio
	@echo "== all checks passed"

setup: .venv/installed
	@etc/setup/debian chromium node curl
	@$(MAKE) --no-print-directory $(E2E)/node_modules/installed

.venv/installed: setup.cfg pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@etc/setup/debian venv
	@echo "== setting up .venv (a minute or two the first time)"
	@test -x .venv/bin/pip || { rm -rf .venv && "$(PYTHON)" -m venv .venv; }
	@$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

# Without npm the tests that need it say so themselves: skipped here, failed where CI is set.
$(E2E)/node_modules/installed: $(E2E)/package-lock.json
	@if command -v npm >/dev/null; then \
		echo "== npm ci" && cd $(E2E) && npm ci --silent --ignore-scripts --no-audit --no-fund && touch node_modules/installed; \
	fi || echo "MISSING: Node packages (npm ci failed)" >&2

lint:
	@echo "== ruff"
	@$(BIN)/ruff check --quiet --output-format=concise .
	@$(BIN)/ruff format --quiet --check .

types:
	@echo "== mypy --strict"
	@$(BIN)/mypy --strict --no-error-summary

imports:
	@echo "== import rules"
	@out=$$($(BIN)/lint-imports --no-logo --no-cache 2>&1) || { echo "$$out"; exit 1; }

# Whole files side by side, two at a time; what judges time or memory runs afterwards with nothing beside it.
unit:
	@echo "== pytest"
	@$(BIN)/pytest --quiet --numprocesses=2 --dist=loadfile -m "not alone" $(PYTEST)
	@echo "== pytest, what is measured"
	@$(BIN)/pytest --quiet -m alone $(PYTEST)

# What touches real sockets holds on Twisted's other reactor as well.
asyncio:
	@echo "== pytest on the asyncio reactor"
	@$(BIN)/pytest --quiet --reactor=asyncio $$(grep -rl --include='test_*.py' pytest_twisted tests)

nightly: setup
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest --quiet --capture=no --timeout=3600 tests/flags tests/streams tests/settings
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest --quiet --capture=no tests/e2e/test_webhooks_*.py tests/e2e/test_exporter.py

format: .venv/installed
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

clean:
	rm -rf .run .venv build *.egg-info $(E2E)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- measuring ------------------------------------------------------------------------------------------------------

.PHONY: bench bench-quick soak
MINUTES ?= 10

# The whole table, about seven minutes; rewrites docs/benchmarks/.
bench: .venv/installed
	@etc/setup/debian wrk
	@$(BIN)/python -m bench

bench-quick: .venv/installed
	@etc/setup/debian wrk
	@$(BIN)/python -m bench --quick

# Streams under churn, faults and kills; what is judged is in tests/e2e/test_soak.py, which `make test` runs for a minute.
soak: .venv/installed
	@SOAK_MINUTES=$(MINUTES) $(BIN)/pytest --quiet --capture=no -p no:randomly tests/e2e/test_soak.py
