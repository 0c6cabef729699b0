# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Needs git, make and Python 3.11 or newer; everything else is installed into .venv, and made in .build.
#   PYTHON=...    the Python that runs Ansible (default: the first fit one)
#   PYTHONS=...   the other Pythons that the unit and sanity tests cover (default: oldest and newest found, from 3.9)
#   JOBS=...      how much runs at once (default: 2)

SHELL := /bin/sh
.DEFAULT_GOAL := help
# One failed check does not keep the others from being shown.
MAKEFLAGS += --no-print-directory --keep-going
.SUFFIXES:

JOBS ?= 2
BUILD := $(CURDIR)/.build
REPORTS := $(BUILD)/reports
COLLECTIONS := $(BUILD)/collections
COPY := $(BUILD)/copy
COLLECTION := $(COLLECTIONS)/ansible_collections/unikernel/fleet
DEV := $(CURDIR)/.venv/dev/bin
RUN := $(CURDIR)/.venv/run/bin
IMPORTER := $(CURDIR)/.venv/importer/bin
STEP := $(DEV)/python $(CURDIR)/tools/step.py
PYTEST := $(DEV)/python -m pytest -q
NODES := $(DEV)/python -m ansible_collections.unikernel.fleet.tests.support.nspawn

# A user's own settings of Ansible, pytest or Python must not change what is tested or shown.
unexport ANSIBLE_CONFIG ANSIBLE_INVENTORY ANSIBLE_ROLES_PATH ANSIBLE_LIBRARY PYTEST_ADDOPTS PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV
export LC_ALL := C.UTF-8
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export ANSIBLE_HOME := $(BUILD)/ansible
export ANSIBLE_REMOTE_TEMP := $(BUILD)/ansible/remote
export ANSIBLE_ASYNC_DIR := $(BUILD)/ansible/async
export ANSIBLE_LOCALHOST_WARNING := false
export PYTHONPATH := $(COLLECTIONS)
export HYPOTHESIS_STORAGE_DIRECTORY := $(BUILD)/hypothesis
export RUFF_CACHE_DIR := $(BUILD)/ruff-cache
export MYPY_CACHE_DIR := $(BUILD)/mypy-cache
export FLEET_REPORTS := $(REPORTS)

.PHONY: help
help: ## show this list
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 = \2/p' Makefile | while IFS='=' read -r name text; do \
	    printf '%-14s%s\n' "$$name" "$$text"; done

# --- The environments, remade only when their lock file changes

.PHONY: venv-run venv-dev venv-importer tree copy
venv-run:
	@python=$$(tools/find_python.sh controller) && tools/make_venv.sh "$$python" requirements/runtime.txt .venv/run

venv-dev:
	@python=$$(tools/find_python.sh controller) && tools/make_venv.sh "$$python" requirements/dev.txt .venv/dev

venv-importer:
	@python=$$(tools/find_python.sh controller) && tools/make_venv.sh "$$python" requirements/importer.txt .venv/importer

# Where Ansible and Python find the collection: a link for running it, a copy for the tools that follow no links.
tree:
	@python=$$(tools/find_python.sh controller) && "$$python" tools/collection_tree.py link $(COLLECTIONS)

copy:
	@python=$$(tools/find_python.sh controller) && "$$python" tools/collection_tree.py copy $(COPY)

.PHONY: lock
lock: ## choose the newest versions anew and write requirements/*.txt
	@python=$$(tools/find_python.sh controller) && tools/lock.sh "$$python"

# --- For everybody

.PHONY: demo
demo: venv-run tree ## deploy, update and roll back two unikernels on this machine, with real output
	@PATH="$(RUN):$$PATH" $(RUN)/python tools/demo.py

.PHONY: test
test: venv-dev tree ## run everything below that belongs to a change; ends with what was skipped and why
	@rm -rf $(REPORTS)
	@status=0; \
	$(MAKE) -j$(JOBS) lint sanity || status=1; \
	FLEET_FORM=short $(MAKE) unit component unit-others molecule faults machines || status=1; \
	$(DEV)/python tools/summary.py $(REPORTS) || status=1; \
	exit $$status

# --- Lint

.PHONY: lint lint-ruff lint-format lint-mypy lint-ansible lint-yaml lint-shell lint-layers lint-headers lint-reuse \
        lint-changelog lint-docs importer
lint: ## check style, types, layers, licences, documentation, and what Galaxy demands
lint: lint-ruff lint-format lint-mypy lint-ansible lint-yaml lint-shell lint-layers lint-headers lint-reuse \
      lint-changelog lint-docs importer

lint-ruff: venv-dev
	@$(STEP) ruff -- $(DEV)/ruff check --quiet .

lint-format: venv-dev
	@$(STEP) ruff-format -- $(DEV)/ruff format --quiet --diff .

lint-mypy: venv-dev tree
	@cd $(COLLECTIONS) && MYPYPATH=$(COLLECTIONS) PYTHONPATH= $(STEP) mypy -- \
	    $(DEV)/mypy --config-file $(CURDIR)/pyproject.toml ansible_collections/unikernel/fleet/plugins

lint-ansible: venv-dev tree
	@PATH="$(DEV):$$PATH" $(STEP) ansible-lint -- \
	    $(DEV)/ansible-lint --offline --profile production --strict -q --nocolor --project-dir $(CURDIR)

lint-yaml: venv-dev
	@$(STEP) yamllint -- $(DEV)/yamllint --strict .

lint-shell: venv-dev
	@$(STEP) shellcheck -- $(DEV)/shellcheck tools/*.sh .ci/run

lint-layers: venv-dev
	@$(STEP) layers -- $(DEV)/python tools/check_layers.py

lint-headers: venv-dev
	@$(STEP) licence-headers -- $(DEV)/python tools/check_licence_headers.py

lint-reuse: venv-dev
	@$(STEP) reuse -- $(DEV)/reuse lint --lines

lint-changelog: venv-dev
	@PATH="$(DEV):$$PATH" $(STEP) changelog -- $(DEV)/antsibull-changelog lint

lint-docs: venv-dev tree
	@cd $(COLLECTION) && PATH="$(DEV):$$PATH" $(STEP) antsibull-docs -- \
	    $(DEV)/antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .

importer: venv-dev venv-importer copy ## check what Galaxy checks when a release is uploaded
	@PATH="$(IMPORTER):$$PATH" $(STEP) galaxy-importer -- \
	    $(IMPORTER)/python tools/import_check.py $(COPY)/ansible_collections/unikernel/fleet $(BUILD)/importer

# --- Tests

.PHONY: unit component unit-others sanity molecule machines faults fuzz live-test bench
unit: venv-dev tree ## run the unit and property tests
	@$(STEP) unit -- $(PYTEST) -n $(JOBS) --junitxml=$(REPORTS)/unit.xml tests/unit

component: venv-dev tree ## run the tests of single parts on real processes, namespaces, virtual machines and playbooks
	@$(STEP) component -- $(PYTEST) -n $(JOBS) --junitxml=$(REPORTS)/component.xml tests/component

unit-others: venv-dev tree ## both on the other Pythons found, each with the newest ansible-core for it
	@$(DEV)/python tools/unit_others.py $(CURDIR)/.venv $(JOBS)

sanity: venv-dev copy ## run ansible-test sanity, on a node's oldest and newest Python too
	@$(STEP) sanity -- $(DEV)/python tools/sanity.py $(BUILD) $$(tools/find_python.sh ends)

molecule: venv-dev tree ## run the scenarios in extensions/molecule: real deployments on this machine
	@PATH="$(DEV):$$PATH" $(STEP) molecule -- molecule test --all --exclude nodes --report \
	    --workers $(JOBS) --continue-on-failure

# Those on machines are part of `machines` in the short form.
MATRICES = tests/faults $(if $(filter short,$(FLEET_FORM)),,tests/machines/test_fault_matrix.py)

machines: venv-dev tree ## boot machines with systemd as containers (root, systemd-container, mmdebstrap), and manage them
	@reason=$$($(NODES) possible 2>&1); case $$? in \
	0) status=0; \
	   PATH="$(DEV):$$PATH" $(STEP) molecule-nodes -- molecule test --scenario-name nodes --report || status=1; \
	   $(STEP) --last-line machines -- $(PYTEST) -n $(JOBS) --dist loadfile \
	       --junitxml=$(REPORTS)/machines.xml tests/machines || status=1; \
	   exit $$status ;; \
	77) for step in molecule-nodes machines; do $(STEP) $$step --skipped "$$reason"; done ;; \
	*) $(STEP) machines -- $(NODES) possible ;; \
	esac

faults: venv-dev tree ## kill, cut, fill and corrupt: every step of a real swap interrupted
	@$(STEP) --last-line faults -- $(PYTEST) -n $(JOBS) --junitxml=$(REPORTS)/faults.xml $(MATRICES)

fuzz: venv-dev tree ## run the property tests with many more examples, and a million broken frames, others each time
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) -n $(JOBS) tests/unit
	$(DEV)/python tests/fuzz/albatross_frames.py --jobs $(JOBS)

live-test: venv-dev tree ## test against real servers and tenders, as far as the environment names any
	$(PYTEST) tests/live

bench: venv-dev tree ## measure plans, updates, reverts and swaps (these as root; Solo5's with SOLO5_BIN and SOLO5_IMAGES); prints a table
	@PATH="$(DEV):$$PATH" $(DEV)/python tests/bench/run.py

# --- Results

.PHONY: docs build clean
docs: venv-dev tree ## write the documentation as HTML into .build/docs
	@PATH="$(DEV):$$PATH" $(STEP) docs -- $(DEV)/python tools/docs.py $(BUILD)/docs
	@echo "see .build/docs/html/index.html"

build: venv-dev copy ## build the release's archive into .build/dist
	@mkdir -p $(BUILD)/dist && cd $(COPY)/ansible_collections/unikernel/fleet && \
	    $(DEV)/ansible-galaxy collection build --force --output-path $(BUILD)/dist

clean: ## remove everything that the targets above made
	rm -rf .venv .build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/output
