# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_INJECT_FACT_VARS := false
export PYTHON

# The path of ssh's socket, 40 bytes longer than this, must stay under 108 bytes.
ifeq ($(shell test $$(printf %s '$(CURDIR)' | wc -c) -gt 65 && echo long),long)
export ANSIBLE_SSH_CONTROL_PATH_DIR := ~/.ansible/cp
endif

LINTERS := ansible-lint yamllint ruff mypy shellcheck
BROKERS := molecule-queues molecule-queues-redis molecule-sqs

# The time of a recipe that began with `begin=$$SECONDS`, for a person
TOOK = $$(( (SECONDS - begin) / 60 )) min $$(( (SECONDS - begin) % 60 )) s

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## Deploy Airflow onto five throwaway hosts on this machine
	@begin=$$SECONDS
	scripts/setup lab controller
	ansible-playbook site.yml -i inventories/local
	echo "make up took $(TOOK)"

.PHONY: down
down: ## Remove all that `make up` made
	@begin=$$SECONDS
	scripts/setup controller
	ansible-playbook playbooks/lab_destroy.yml -i inventories/local
	rm -rf .ansible/cp
	echo "make down took $(TOOK)"

.PHONY: test
test: ## Run everything that proves the collection: linters, sanity, unit tests, molecule
	@scripts/setup lab servers controller lint test
	scripts/prove $(LINTERS) sanity unit molecule-default

.PHONY: test-brokers
test-brokers: ## Deploy the platform on each of the other brokers, one after the other
	@scripts/setup lab servers controller lint test
	scripts/prove $(BROKERS)

.PHONY: test-swarm
test-swarm: ## Deploy the platform on Docker Swarm, with an image that is built before
	@scripts/setup lab servers controller lint test
	scripts/prove molecule-swarm

.PHONY: test-kubernetes
test-kubernetes: ## Deploy the platform into the cluster that KUBECONFIG names (molecule/kubernetes/molecule.yml)
	@scripts/setup lab cluster controller lint test
	scripts/prove molecule-kubernetes

.PHONY: test-image
test-image: ## Build the image of the core, run it as strictly as can be, promote it, and run a platform in pods of podman's
	@scripts/setup lab servers controller test
	scripts/prove image

.PHONY: test-unit
test-unit: ## Run the unit tests alone
	@scripts/setup controller test
	scripts/prove unit

.PHONY: lint
lint: ## Run the linters and the type checker alone
	@scripts/setup controller lint
	scripts/prove $(LINTERS)

.PHONY: bench
bench: ## Measure what docs/performance.md states
	@scripts/setup controller test
	for benchmark in benchmarks/bench_*.py; do echo "==> $$benchmark"; python "$$benchmark"; done

.PHONY: locks
locks: ## Renew the locks of the core, one for each Python
	@scripts/setup controller
	scripts/lock-core

.PHONY: setup
setup: ## Install every tool into .venv, which the other targets do as far as they need it
	@scripts/setup controller lint test
