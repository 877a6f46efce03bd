# The words people, hooks and CI share. Everything is installed into .venv; nothing else on the machine is touched.
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# Python may keep bytecode in .venv, where the environment says no: without it every command imports for twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo run schedule install install-dev test test-systems test-all check docs lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: DATASET ?= digits
demo: install ## install, then run everything with no download: on digits, or with DATASET=letters on letters in colour
	@digits run --dataset $(DATASET) --recipe $(if $(filter letters,$(DATASET)),colour,fast)
	@echo 'to go on: `. $(VENV)/bin/activate`, then `digits --help`'

run: DATASET ?= mnist
run: install ## install, then run everything on MNIST (from MNIST_DIR if set, else downloaded), or on another DATASET
	@digits run --dataset $(DATASET) --recipe default

schedule: .cache/prefect/running ## retrain by schedule on this machine: Prefect's server, a worker and prefect.yaml, until Ctrl-C

# A file, as make removes it when it is told to end: that is how its recipe hears of a SIGINT that make alone is sent.
.cache/prefect/running: install
	@exec python -m flows.schedule --of-make $(if $(PORT),--port $(PORT))

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

test: install-dev ## install, then pass the tests
	$(PYTEST) -m "not system and not slow"

test-systems: install-dev ## the tests of the whole: a demo's run, its service in a browser, schedules, Postgres
	$(PYTEST) --numprocesses 3 -m "system and not slow"

test-all: install-dev ## all of them, and the slow ones
	$(PYTEST) --numprocesses 3

check: install-dev ## lint, types, and which way imports go
	ruff check . && ruff format --check . && mypy && lint-imports

docs: $(VENV)/.installed-docs ## build the site of docs/ and check its links: .cache/docs/site/index.html
	@python -m docs.handbook .cache/docs
	@zensical build --strict --config-file .cache/docs/zensical.toml

lock: $(VENV)/bin/uv ## compile the lock files anew from pyproject.toml
	uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	uv pip compile $(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	uv pip compile $(LOCK) --group docs -c requirements.lock -o requirements-docs.lock

# What the champion was asked is of versions that go; people's corrections stay, as the batches do.
ANSWERED := import sqlite3; store = sqlite3.connect("data/live.db", isolation_level=None); \
	store.execute("DROP TABLE IF EXISTS seen"); store.execute("VACUUM")

clean: ## forget every run: data, models, reports, registry (batches, corrections and the environment stay)
	@[ ! -f data/live.db ] || python3 -c '$(ANSWERED)'
	rm -rf $(foreach made,raw features processed,data/$(made) data/$(made).old data/.$(made).*.part)
	rm -rf models reports mlflow.db* .mlflow.*.part.db* mlartifacts mlruns .cache dvc.lock dvc_plots .dvc/cache .dvc/tmp

# A file's tests stay together: they share a workspace, a server or a browser. The order is ours: xdist's is by the number
# of tests, which leaves the long files for the end. (Its groups, --dist loadgroup, do not work under pytest 9.2.)
# Whole runs and servers wait for one another a third of their time: three processes, also on two cores.
PYTEST := pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# One version of a package whatever the Python, so that a model is the same on all of them.
LOCK := --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet

# uv installs the locks: every file is checked against its hash. To compile all of it takes longer than a run on the
# digits: Python keeps the bytecode of what is imported, also where the environment tells it not to.
INSTALL := uv pip install --require-hashes --quiet
unexport PYTHONDONTWRITEBYTECODE
PROJECT := uv pip install --no-deps --no-build-isolation --quiet --editable .

# PYTHON is the first of these that can make an environment. Without any, uv brings one, if it is on the path.
SUITS := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(SUITS)' 2>/dev/null && command -v $$python && break; done)
WANTED := Python 3.11, 3.12 or 3.13 with its venv module

$(VENV)/bin/uv: bootstrap.lock
	@if [ -x $(VENV)/bin/python ]; then :; \
	elif [ -n "$(PYTHON)" ]; then \
	    $(PYTHON) -c '$(SUITS)' 2>/dev/null || { echo "make: PYTHON=$(PYTHON) is not a $(WANTED): name one that is"; exit 2; }; \
	    $(PYTHON) -m venv $(VENV); \
	elif command -v uv >/dev/null; then uv venv --quiet --seed --python 3.11 $(VENV); \
	else echo "make: no $(WANTED) was found: install one, or uv, which brings it, or call make PYTHON=/path/to/python"; exit 2; fi
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@touch $@

$(VENV)/.installed: $(VENV)/bin/uv requirements.lock pyproject.toml
	@echo "installing the locked packages into $(VENV) (a few minutes when they must be downloaded)"
	@$(INSTALL) -r requirements.lock
	@$(PROJECT)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed requirements-docs.lock
	@$(INSTALL) -r requirements-docs.lock
	@touch $@
