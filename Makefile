# Two commands do everything: `make demo` and `make test`. Both set up what is missing first; once it
# is there, neither touches the network.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

BIN := .venv/bin
# How many tests run at once. They wait for nodes more than they compute.
WORKERS ?= auto
# The lock has wheels for 3.11 to 3.13. PYTHON=/path/to/python chooses one of them. The system's own
# goes first: distributions build theirs optimised, and what is first on PATH often was not.
PYTHON ?= $(shell for python in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	>/dev/null 2>&1 && { echo "$$python"; break; }; done)

# Some environments forbid it; then each of some thousand processes would compile all modules anew.
export PYTHONDONTWRITEBYTECODE :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help
help: ## Show what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: setup ## Run the main job on real local nodes: success, rollback, kill and resume.
	@$(BIN)/coordinator devnet demo

.PHONY: test
test: setup check ## Run all checks and all tests.
	@$(BIN)/pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: check
check: setup ## Check format, lint, types and import contracts.
	@$(BIN)/ruff format --check --quiet . || { echo "run: make fmt" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: fmt
fmt: setup ## Format the code and apply safe lint fixes.
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: bench
bench: setup ## Measure speed and size; the numbers also go to .bench/ as JSON.
	@$(BIN)/python -m tests.bench

# pr: what `make test` does, timed and counted. nightly: hours. release: days.
DEPTH ?= pr

.PHONY: reliability
reliability: setup ## Run the reliability jobs (DEPTH=pr|nightly|release); writes tests/REPORT.md.
	@$(BIN)/python -m tests.reliability $(DEPTH)

.PHONY: setup
setup: ## Install Python dependencies, anvil and bitcoind into git-ignored folders.
	@$(MAKE) --silent --no-print-directory --jobs=2 .venv/.package nodes

.venv/.package: pyproject.toml coordinator/__init__.py .venv/.dependencies
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Hashes for every file and no sdists: nothing runs at install time that the lock does not name.
.venv/.dependencies: requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with its venv module is missing" \
		"(Debian: apt install python3 python3-venv), or set PYTHON=" >&2; exit 3; }
	@echo "python: installing the locked dependencies into .venv (about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --require-hashes --only-binary :all: --requirement $<
	@touch $@

# No stamp: whether the binaries are there depends on PATH and the environment, and asking is quick.
.PHONY: nodes
nodes:
	@test -n "$(PYTHON)" || exit 3
	@$(PYTHON) -m adapters.devnode

.PHONY: lock
lock: ## Choose dependency versions anew (needs uv).
	@for set in runtime dev; do \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		requirements/$$set.in --output-file requirements/$$set.txt; done

.PHONY: clean
clean: ## Remove everything that make brought in or produced; running devnets stay up.
	@rm -rf .venv .tools .bench build dist .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	@find proofs adapters coordinator tests -name __pycache__ -type d -prune -exec rm -rf {} +
