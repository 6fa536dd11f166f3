# `make help` lists what can be asked for.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python

COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: demo install test coverage test-docker check servers consul chaos chaos-limits soak fuzz bench docs pictures up down help clean

demo: $(VENV)/.run  ## a gateway, a dev registry and three instances on this machine; Ctrl-C ends all of it
	@exec $(VENV)/bin/lbgateway demo

install: $(VENV)/.run  ## what it takes to run, into .venv: then .venv/bin/lbgateway

# Most tests wait for real servers, so several run at a time; what measures time or memory comes after them, alone. What has failed,
# and shows so, is judged once more without the others: a machine that had more to do than it can says nothing about the code.
JOBS ?= 3

test: check servers  ## everything: the checks, then all tests with real Consul and real Redis; JOBS=3 at a time
	@ended=0; \
	judge() { \
	  $(PY) -m pytest -m "$$@"; \
	  case $$? in \
	    0) ;; \
	    1) echo "Once more, without the others:"; $(PY) -m pytest -m "$$1" --last-failed --last-failed-no-failures none || ended=1 ;; \
	    *) ended=1 ;; \
	  esac; \
	}; \
	judge 'not alone' --numprocesses $(JOBS) --dist loadfile; \
	judge alone; \
	exit $$ended

coverage: check servers  ## the same tests, and which lines and branches they reach; takes half as long again
	$(PY) -m pytest -m 'not alone' --numprocesses $(JOBS) --dist loadfile --cov --cov-report=
	$(PY) -m pytest -m alone --cov --cov-append --cov-report=term

test-docker: $(VENV)/.dev  ## what needs a Docker engine: the deployment of docker-compose.yml, driven; tests with Consul and Redis in containers
	$(PY) -m pytest tests/docker
	LBGATEWAY_TEST_SERVERS=containers $(PY) -m pytest tests/contract $(addprefix tests/integration/,test_consul_source.py \
	  test_e2e_consul_outage.py test_e2e_rate_limits_redis.py test_sessions.py)

check: $(VENV)/.dev  ## lint, types, import contracts, the shape of the tree
	$(PY) -m ruff check --quiet .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/architecture

servers: $(VENV)/.dev  ## find, or fetch into .cache, the real servers that the tests use
	@$(PY) -m tests.support.real_servers

consul: $(VENV)/.run  ## where there is no consul: fetch one into .cache (Debian), and print the line that puts it into PATH
	@$(PY) -m tests.support.real_servers consul

chaos: $(VENV)/.dev servers  ## what may go wrong, and what clients see of it; ONLY=killed,deployed REPEAT=10 as you like
	@$(PY) -m tests.chaos $(if $(ONLY),--only "$(ONLY)") $(if $(REPEAT),--repeat $(REPEAT))

chaos-limits: $(VENV)/.dev servers  ## what a limit adds to requests while its Redis is in trouble, in ms; REPEAT=5 as you like
	@$(PY) -m tests.chaos.added $(if $(REPEAT),--repeat $(REPEAT))

soak: $(VENV)/.dev servers  ## an hour of mixed traffic with faults, and what has grown; MINUTES=60 PER_SECOND=100 SEED=1 as you like
	@$(PY) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(PER_SECOND),--per-second $(PER_SECOND)) $(if $(SEED),--seed $(SEED))

EXAMPLES ?= 1000

fuzz: $(VENV)/.dev servers  ## the tests that make up what comes in, with so many examples each; EXAMPLES=1000 ONLY=parser as you like
	LBGATEWAY_TEST_EXAMPLES=$(EXAMPLES) $(PY) -m pytest -m hypothesis $(if $(ONLY),-k "$(ONLY)")

bench: $(VENV)/.run  ## the gateway beside nginx in one run: CPU per request
	@$(PY) benchmarks/beside_nginx.py

docs: $(VENV)/.dev  ## write docs/reference/ from the program
	@$(PY) -m tests.support.reference_pages

pictures: $(VENV)/.dev servers  ## take the pictures of docs/admin-page.md anew, of a gateway under traffic; takes three minutes
	@$(PY) -m tests.browser.pictures

up:  ## Consul with ACLs, Redis, two gateways behind HAProxy and three services, in containers: docker-compose.yml
	$(COMPOSE) up --build -d
	@echo "curl http://127.0.0.1:$${FRONT_PORT:-8080}/api/orders/1      the admin token: $(COMPOSE) exec gateway-1 cat /run/tokens/admin"

down:  ## end what `make up` has started, and remove its volumes
	$(COMPOSE) down --volumes --remove-orphans

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
