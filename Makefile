# The public targets of TinyObs; `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Build output; keep it outside the checkout to share it between clones.
TARGET := $(or $(CARGO_TARGET_DIR),target)
PAGE_SOURCES := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print 2>/dev/null)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

.PHONY: run
run: build ## Build what is missing and start TinyObs on http://127.0.0.1:8080/ (ARGS="--listen …" is passed on)
	@exec "$(TARGET)/release/tinyobs" serve $(ARGS)

.PHONY: build
build: web/dist/index.html ## Build the optimised program with its page: target/release/tinyobs
	@scripts/say.sh "building the server: about 6 minutes the first time, seconds when little changed"
	@cargo build --release --locked -p server

.PHONY: agent
agent: ## Build the agent for nodes, without shared libraries: target/agent/tinyobs-agent
	@scripts/say.sh "building the agent: about 3 minutes the first time"
	@scripts/agent.sh "$(TARGET)"

.PHONY: test
test: ## Check everything: format, lints, unit, integration and browser tests
	@scripts/test.sh

.PHONY: lint
lint: web/node_modules/.package-lock.json ## Check format, lints, dependencies and documents only
	@scripts/lint.sh

.PHONY: generate
generate: web/node_modules/.package-lock.json ## Write the files that are made from the code: docs/openapi.json, docs/errors.md, docs/configuration-keys.md, deploy/kubernetes, web/src/api/schema.ts
	@cargo run --quiet --locked -p api --example reference openapi > docs/openapi.json.new
	@mv docs/openapi.json.new docs/openapi.json
	@cargo run --quiet --locked -p api --example reference errors > docs/errors.md.new
	@mv docs/errors.md.new docs/errors.md
	@cargo run --quiet --locked -p xtask -- generate
	@npm --prefix web run --silent generate

.PHONY: bench
bench: build ## Measure TinyObs beside VictoriaMetrics and Prometheus (needs their Debian packages)
	@scripts/install.sh bench
	@scripts/bench.sh $(ARGS)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@scripts/install.sh build
	@scripts/say.sh "installing the page's packages: about half a minute"
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(PAGE_SOURCES)
	@scripts/say.sh "building the page: about 20 seconds"
	@cd web && npm run --silent build
	@touch $@
