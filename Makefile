# `make` alone lists the targets. Whatever a target needs is built first; .venv again when setup.cfg, pyproject.toml or what is compiled change.
PYTHON ?= python3
BIN := .venv/bin
# What runs the product (quick to install), what also checks and tests it, and what the benchmark, the audit's tables and its fuzzer need besides.
RUNTIME := .venv/.runtime
DEV := .venv/.dev
BENCH := .venv/.bench
TABLES := .venv/.tables
FUZZ := .venv/.fuzz
# What is compiled when it is installed (setup.py names the same), and so has to be installed again when it changes.
COMPILED := $(wildcard services/audit/reading/*.py) $(addprefix services/audit/, contacts.py gate.py matcher.py search.py)
SOURCES := setup.cfg pyproject.toml setup.py $(COMPILED) $(wildcard $(COMPILED:.py=.pxd))
# Pinned, so that the same contracts make the same document on every machine.
GNOSTIC := v0.7.1
# For example: make test ARGS='tests/ledger -k stock'
ARGS ?=
# How many processes share the test files, each with a MariaDB and a Zabbix of its own; 0: this one. Tests marked `alone` run
# while the others wait.
JOBS ?= 2
# How many instances `make mesh` starts of each service; one of those that are not named.
SCALE ?= audit=2,redeem=3

.DEFAULT_GOAL := help
.PHONY: help setup stubs check test test-slow test-galera run demo lint types drift format mesh mariadb galera openapi consul fonts zabbix chromium envoy maven bench bench-full bench-audit bench-monitoring chaos monitor-demo tables audit-report fuzz-audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(DEV) ## Build .venv with everything that running, checking and testing need

run: $(RUNTIME) ## Start the five services, play the journey once, and stay up
	@$(BIN)/sharemesh run $(ARGS)

demo: $(RUNTIME) ## Play the journey and exit, non-zero if a step's outcome is not the expected one
	@$(BIN)/sharemesh demo $(ARGS)

mesh: $(DEV) mariadb consul envoy ## Start the mesh: Consul, MariaDB, control planes, instances by SCALE, the gateway; stay up
	@$(BIN)/python -m local mesh --scale '$(SCALE)' $(ARGS)

test: $(DEV) mariadb consul envoy fonts maven zabbix ## Run every test that is not marked slow, on SQLite and on a real MariaDB
	@$(BIN)/pytest -m 'not slow' -n $(JOBS) --dist loadfile $(ARGS)

test-slow: $(DEV) mariadb consul envoy galera zabbix chromium ## Run the tests marked slow (before a release)
	@$(BIN)/pytest -m slow $(ARGS)

test-galera: $(DEV) mariadb consul galera ## Run the tests on three Galera nodes, of which some are killed
	@$(BIN)/pytest -m galera $(ARGS)

check: lint types drift ## Check contracts, style, types, imports and that the stubs are up to date
	@$(BIN)/pytest -q --no-header tests/test_imports.py

lint: $(DEV) ## Check the contracts (buf) and the style (ruff)
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --path protos/sharemesh
	@# The contracts are frozen by the first release: nothing may break what the last one promised.
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null); if [ -n "$$tag" ]; then \
	  echo "$(BIN)/buf breaking --against .git#tag=$$tag"; $(BIN)/buf breaking --against ".git#tag=$$tag"; fi
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## Check the types (mypy, strict)
	$(BIN)/mypy

drift: $(DEV) ## Check that the stubs are what protos/ generates
	@rm -rf .cache/stubs && PYTHON=$(BIN)/python protos/generate.sh .cache/stubs
	@for stubs in sharemesh/v1 buf/validate; do \
	  diff -rq -x __init__.py -x __pycache__ .cache/stubs/$$stubs $$stubs || \
	  { echo "$$stubs is not what protos/ generates: run 'make stubs'"; exit 1; }; done

stubs: $(DEV) ## Generate sharemesh/v1 and buf/validate from protos/
	@rm -rf .cache/stubs && PYTHON=$(BIN)/python protos/generate.sh .cache/stubs
	@rm -f sharemesh/v1/*_pb2* buf/validate/*_pb2* && cp -R .cache/stubs/. .

format: $(DEV) ## Format the contracts and the code
	$(BIN)/buf format --write --path protos/sharemesh
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

mariadb: $(DEV) ## Make sure that MariaDB is here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.mariadb

galera: $(DEV) ## Make sure that Galera is here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.galera

consul: $(DEV) ## Make sure that Consul is here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.consul

fonts: $(DEV) ## Make sure that a font with Chinese characters is here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.fonts

zabbix: $(DEV) ## Make sure that Zabbix is here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.zabbix

chromium: $(DEV) ## Make sure that Chromium is here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.browser

openapi: $(DEV) ## Write docs/openapi.yaml from protos/ (needs Go)
	@command -v go >/dev/null || { echo 'make openapi needs Go 1.23 or newer on PATH: see https://go.dev/doc/install'; exit 1; }
	@GOBIN=$(CURDIR)/.cache/go/bin go install github.com/google/gnostic/cmd/protoc-gen-openapi@$(GNOSTIC)
	@PYTHON=$(BIN)/python protos/openapi.sh docs/openapi.yaml .cache/go/bin

maven: $(DEV) ## Make sure that a JDK and Maven are here (else fetched into .cache/, without root)
	@$(BIN)/python -m local.maven

envoy: $(DEV) ## Make sure that Envoy is here (else installed into .cache/, without root)
	@$(BIN)/python -m local.envoy

chaos: $(DEV) mariadb consul envoy ## Do to a mesh under load what happens to meshes, 6 minutes; writes docs/chaos.md
	@$(BIN)/python -m chaos $(ARGS)

bench: $(BENCH) mariadb ## Measure the hot path beside its rivals, 20 minutes at most; writes docs/benchmarks.md
	@$(BIN)/python -m bench $(ARGS)

bench-full: $(BENCH) mariadb ## Measure the rows too that no goal needs, for an hour
	@$(BIN)/python -m bench --full $(ARGS)

bench-audit: $(DEV) maven ## Measure the audit of texts beside its rival and its own parts, 3 minutes
	@$(BIN)/python -m bench.audit $(ARGS)

monitor-demo: $(DEV) mariadb consul envoy zabbix ## Let a real Zabbix watch a mesh, break it, and tell when who was told
	@$(BIN)/python -m chaos.monitored $(ARGS)

bench-monitoring: $(BENCH) mariadb consul envoy zabbix ## Measure what the sidecar costs, 5 minutes
	@$(BIN)/python -m bench.monitoring $(ARGS)

tables: $(TABLES) ## Make the audit's tables anew (services/audit/reading/tables/)
	@$(BIN)/python -m services.audit.reading.tables.make

audit-report: $(DEV) ## Tell how right the audit is on labelled lines, and what each of its steps adds and costs (ARGS=--wrong: which lines not)
	@$(BIN)/python -m tests.audit.report $(ARGS)

fuzz-audit: $(FUZZ) ## Search with atheris for a text that breaks the audit, until ARGS such as -max_total_time=60 end it
	@mkdir -p .cache/fuzz-audit && $(BIN)/python -m tests.audit.fuzz -artifact_prefix=.cache/ .cache/fuzz-audit $(ARGS)

clean: ## Remove .venv, caches and the local database
	rm -rf .venv .cache var build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find services -name '*.so' -delete

$(RUNTIME): $(SOURCES)
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo 'Installing what sharemesh runs on into .venv'
	@find services -name '*.so' -delete
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): $(SOURCES)
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo 'Installing what sharemesh runs on, and is checked with, into .venv'
	@find services -name '*.so' -delete
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(RUNTIME) $@

$(BENCH): $(DEV)
	@echo 'Installing what the benchmark needs into .venv'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(TABLES): $(RUNTIME)
	@echo "Installing what makes the audit's tables into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[tables]'
	@touch $@

$(FUZZ): $(DEV)
	@echo 'Installing what fuzzes the audit into .venv'
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@
