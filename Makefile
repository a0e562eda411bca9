# `make demo` and `make test` are all a fresh clone needs: both build .venv first.
# PYTHON=/path/to/python chooses the interpreter; otherwise the first fitting one below is taken.

CANDIDATES := python3.11 python3.12 python3.13 python3 python
BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := cpu,als,serve,tuning,tuning-cmaes,tuning-postgresql,tuning-redis,report,docs,dev
# Modules are compiled when they are first imported: compiling all of torch's takes longer than installing them.
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --constraint constraints.txt
# Which is why Python must be allowed to keep what it compiles, wherever an image forbids it: importing torch would take three times as long in every process.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help venv demo test coverage test-all docs bench bench-full fuzz release lint type format clean

help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP)  ## Create .venv with the pinned versions of constraints.txt

demo: $(STAMP)  ## Train, measure, index and recommend on ml-100k
	@$(BIN)/bertrec demo

# Types are checked beside the tests, which leave a part of two cores idle.
test: lint  ## Run every check but tutorials, cluster and wheel: ruff, mypy, pytest
	$(BIN)/mypy & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST); tests=$$?; \
	wait $$types && exit $$tests

# Counting branches costs up to as much again as the tests themselves.
coverage:  ## The same with branch coverage
	$(MAKE) test PYTEST='--cov --cov-report=term'

# An empty environment is filled from pip's index: this takes minutes and a few GB for that time.
test-all: coverage docs  ## The same with branch coverage, then site, tutorials, a Spark cluster whose executors are killed, wheel and sdist in empty environments
	$(PIP) --editable '.[spark]'
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "cluster or tutorial"
	$(BIN)/python -m checks.wheel

docs: $(STAMP)  ## Build the documentation as a site into site/, without a warning and without a request outside
	$(BIN)/python -m checks.site

# DATA=folder names the data sets, else BERTREC_TEST_DATA does; without them the benchmarks take data of their own.
bench: $(STAMP)  ## Time our fast ways against our slow ones and sentence-transformers
	$(BIN)/python -m benchmarks.speed $(if $(DATA),--data '$(DATA)')

bench-full: $(STAMP)  ## The same against every peer; RecTools in an environment of its own
	$(BIN)/python -m benchmarks.speed --suite full $(if $(DATA),--data '$(DATA)')

# ROUNDS=n sets the attacks on each reader and artefact, SEED=n draws others.
fuzz: $(STAMP)  ## Damage every kind of file that is read; print attacks and what became of them
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz --rounds $(or $(ROUNDS),400) --seed $(or $(SEED),0)

release: $(STAMP)  ## Build, check and try what the tagged commit would publish, into dist/; CONTRIBUTING.md has the steps
	$(PIP) --editable '.[release]'
	$(BIN)/python -m checks.release check

lint: $(STAMP)  ## Check style, formatting, the order of imports, and the prose of the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m checks.prose

type: $(STAMP)  ## Check types
	$(BIN)/mypy

format: $(STAMP)  ## Mend style and formatting where that can be done by a program
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m checks.prose --mend

clean:  ## Remove .venv and every cache
	rm -rf .venv site dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis

# The interpreter must be 3.11 or newer and able to make an environment (Debian splits that off into python3-venv).
# RecBole's ray pin has no wheel for 3.12 and newer: there its wheel is installed alone, for the data that it carries.
$(STAMP): pyproject.toml constraints.txt
	@python=; for name in $(if $(PYTHON),'$(PYTHON)',$(CANDIDATES)); do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: no Python 3.11 or newer that has the venv module was found (tried: $(or $(PYTHON),$(CANDIDATES)))." >&2; \
	  echo "make: install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13)" >&2; \
	  echo "make: or name yours: make $(or $(MAKECMDGOALS),venv) PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || "$$python" -m venv --clear .venv
	@echo "Installing bertrec and what it needs into .venv; the first time this takes a few minutes"
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
	  $(PIP) --editable '.[$(EXTRAS),recbole]'; \
	else \
	  $(PIP) --editable '.[$(EXTRAS)]' && $(PIP) --no-deps recbole==1.2.1; \
	fi
	@touch $@
