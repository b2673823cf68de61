# `make run` starts a demo gateway, `make test` runs every check; both install what they need.

SHELL := /bin/sh
export PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PORT DIAG_PORT NODES
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Some build servers forbid it; then every gateway that a test starts compiles its modules again, for a second.
export PYTHONDONTWRITEBYTECODE :=

SOURCES := $(shell find gateway twisted -name '*.py' -o -name '*.typed') setup.cfg pyproject.toml
BIN := .venv/bin
E2E := tests/e2e

.PHONY: help run test setup lint types imports unit asyncio format nightly clean
.DEFAULT_GOAL := help

help:
	@echo "make run          start a demo gateway on ports 8050 and 8051 (other ports: make run PORT=9050 DIAG_PORT=9051)"
	@echo "                  three that work together: make run NODES=3 (needs redis-server and postgresql)"
	@echo "make test         run linters, type checks, import rules and all tests"
	@echo "make nightly      run property tests and comparisons with official SDKs with many more examples,"
	@echo "                  webhook and exporter tests with many more faults"
	@echo "make bench        measure against a plain Klein program (about fifteen minutes) and rewrite docs/benchmarks"
	@echo "                  beside another program: make bench PEER_CMD='…{config}…{port}…' (bench/servers.py)"
	@echo "make bench-quick  measure only the main rows (about a minute)"
	@echo "make bench-compare BASE=v0.1  processor time of this checkout beside another revision (about four minutes)"
	@echo "make bench-scale  open STREAMS=100000 event streams, kill and reload the gateway (about eight minutes), and rewrite"
	@echo "                  docs/benchmarks/scale.md"
	@echo "make soak         test streams under churn, faults and kills for MINUTES=10"
	@echo "make screenshots  take the screenshots of docs/console.md from a demo gateway (about three minutes)"
	@echo "make constraints  renew the exact versions that the image and the Debian package contain"
	@echo "make chart-golden render the golden files of the Helm chart after a change"
	@echo "make docs         build the documentation site into build/site"
	@echo "make dist         build wheel, sdist, image context, chart, SBOM and checksums of this commit into dist"
	@echo "make release VERSION=0.3.0  set the version, collect the changelog, and keep databases for the test of upgrades"
	@echo "make format       format the sources with ruff"
	@echo "make clean        delete environments, builds and caches of the other commands"

# --- make run -------------------------------------------------------------------------------------------------------

run: .run/venv/installed
	@etc/demo/run

.run/venv/installed: $(SOURCES)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; set PYTHON to its path")'
	@etc/setup/debian venv curl
	@echo "Setting up .run/venv (about a minute the first time)"
	@test -x .run/venv/bin/pip || { rm -rf .run/venv && "$(PYTHON)" -m venv .run/venv; }
	@rm -rf build  # stale modules in build/ would be installed too
	@.run/venv/bin/pip install --quiet '.[postgres]'  # the extra is for NODES=3
	@rm -rf build
	@touch $@

# --- make test ------------------------------------------------------------------------------------------------------

test: setup lint types imports unit asyncio
	@echo "== all checks passed"

setup: .venv/installed
	@etc/setup/debian chromium node curl nginx postgresql redis prometheus
	@$(MAKE) --no-print-directory $(E2E)/node_modules/installed

.venv/installed: setup.cfg pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; set PYTHON to its path")'
	@etc/setup/debian venv
	@echo "== setting up .venv (a minute or two the first time)"
	@test -x .venv/bin/pip || { rm -rf .venv && "$(PYTHON)" -m venv .venv; }
	@$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

# Without npm, the tests that need it are skipped, or fail if CI is set.
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

# Two test files run in parallel; tests that measure time or memory (mark `alone`) run afterwards, one at a time.
# Tests that take half a minute and more (mark `slow`) run in `make nightly`.
unit:
	@echo "== pytest"
	@$(BIN)/pytest --quiet --numprocesses=2 --dist=loadfile -m "not alone and not slow" $(PYTEST)
	@echo "== pytest, tests that measure time or memory"
	@$(BIN)/pytest --quiet -m alone $(PYTEST)

# Tests with real sockets must pass on Twisted's asyncio reactor as well.
asyncio:
	@echo "== pytest on the asyncio reactor"
	@$(BIN)/pytest --quiet --reactor=asyncio $$(grep -rl --include='test_*.py' pytest_twisted tests)

nightly: setup
	@etc/setup/go-tools
	@etc/setup/debian firefox image
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest --quiet --capture=no --timeout=3600 tests/flags tests/streams tests/settings \
		tests/upstream/test_node_model.py
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest --quiet --capture=no tests/e2e/test_webhooks_*.py tests/e2e/test_exporter.py
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest --quiet --capture=no --timeout=3600 tests/e2e/test_operation.py tests/e2e/test_matrices.py
	@$(BIN)/pytest --quiet --capture=no -m slow tests

format: .venv/installed
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

# Exact versions for the image and the Debian package.
.PHONY: constraints chart-golden
constraints: .venv/installed
	@$(BIN)/pip install --quiet uv
	@etc/setup/constraints $(BIN)/uv

# What `helm template` prints, after a change of the chart.
chart-golden: .venv/installed
	@etc/setup/go-tools
	@PYTHONPATH=tests/support $(BIN)/python -m chart_golden

# The images of docs/console.md; tests/support/screenshots.py has the demo that they show.
.PHONY: screenshots
screenshots: .venv/installed
	@etc/setup/debian chromium
	@PYTHONPATH=tests/support $(BIN)/python -m screenshots

# --- releases and documentation -------------------------------------------------------------------------------------

.PHONY: dist release docs
DIST ?= dist
dist: .venv/installed
	@$(BIN)/python etc/release/dist.py $(DIST)

# Then: commit, tag the commit v$(VERSION), and make dist.
release: .venv/installed
	@test -n "$(VERSION)" || { echo "name the version: make release VERSION=0.3.0" >&2; exit 1; }
	@PYTHONPATH=tests/support $(BIN)/python -m released_data $(VERSION) HEAD
	@sed -i 's/^__version__ = .*/__version__ = "$(VERSION)"/' gateway/__init__.py
	@if [ -f charts/flaggateway/Chart.yaml ]; then \
		sed -i -E 's/^(version|appVersion): .*/\1: "$(VERSION)"/' charts/flaggateway/Chart.yaml; \
	fi
	@$(BIN)/towncrier build --yes --version $(VERSION)

docs: .venv/installed
	@$(BIN)/python -m sphinx --nitpicky --fail-on-warning --keep-going --jobs 2 --quiet docs build/site
	@echo "build/site/index.html"

clean:
	rm -rf .run .venv build dist *.egg-info $(E2E)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- measurements ---------------------------------------------------------------------------------------------------

STREAMS ?= 100000
.PHONY: bench bench-quick bench-compare bench-scale soak
BASE ?= HEAD
PEER_CMD ?=
export PEER_CMD
MINUTES ?= 10

bench: .venv/installed
	@etc/setup/debian wrk h2load
	@$(BIN)/python -m bench

bench-quick: .venv/installed
	@etc/setup/debian wrk
	@$(BIN)/python -m bench --quick

# Fails if a row of this checkout takes 5 % more than the same row of the revision BASE.
bench-compare: .venv/installed
	@etc/setup/debian wrk
	@$(BIN)/python -m bench.compare $(BASE)

# As many workers and load processes as the limit of open files needs; see `ulimit -Hn`.
bench-scale: .venv/installed
	@$(BIN)/python -m bench.scale --streams $(STREAMS) --write

# tests/e2e/test_soak.py describes the checks; `make test` runs it for a minute.
soak: .venv/installed
	@SOAK_MINUTES=$(MINUTES) $(BIN)/pytest --quiet --capture=no -p no:randomly tests/e2e/test_soak.py
