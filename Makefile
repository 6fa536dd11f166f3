# `make help` lists what can be asked for.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test check servers bench help clean

demo: $(VENV)/.run  ## a gateway, a dev registry and three instances on this machine; Ctrl-C ends all of it
	@exec $(VENV)/bin/lbgateway demo

test: check servers  ## everything: the checks, then all tests with real Consul and real Redis
	$(PY) -m pytest --cov --cov-report=term

check: $(VENV)/.dev  ## lint, types, import contracts, the shape of the tree
	$(PY) -m ruff check --quiet .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/architecture

servers: $(VENV)/.dev  ## find, or fetch into .cache, the real servers that the tests use
	@$(PY) -m tests.support.real_servers

bench: $(VENV)/.run  ## the gateway beside nginx in one run: CPU per request
	@$(PY) benchmarks/beside_nginx.py

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

clean:  ## remove all that the other targets have made
	rm -rf $(VENV) .cache .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@.ci/make-venv $(VENV)

# What it takes to run, and on top of that what it takes to develop; each anew only when pyproject.toml changes.
# Not compiled: Python does that for the part that is imported, and the first demo starts twenty seconds sooner.
$(VENV)/.run: pyproject.toml | $(PY)
	@echo "Installing into $(VENV) …"
	@$(PY) -m pip install --quiet --no-compile --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	@echo "Installing into $(VENV), with what the checks and tests need …"
	@$(PY) -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run
