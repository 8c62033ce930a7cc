# The sam-cli compat gate. Settings: .env.example. The recipe: scripts/*.py; what it shares: scripts/gate/.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .cache/venv
READY := $(VENV)/ready
RUN := $(VENV)/bin/python scripts
FIND_PYTHON = @command -v $(PYTHON) >/dev/null || { echo 'error: $(PYTHON) was not found: install Python 3.11 or newer, on Debian and Ubuntu the package python3' >&2; exit 2; }
WORKFLOWS := $(wildcard .github/workflows/*.yml)
# A Python that was upgraded or removed since takes its venv along.
BROKEN := $(shell test ! -e $(READY) || $(VENV)/bin/python -I -c 'import dotenv' 2>/dev/null || rm -f $(READY))
# They would keep Python from finding the scripts' modules, or find others.
unexport PYTHONSAFEPATH PYTHONPATH PYTHONHOME
# Nothing is written outside of .cache and .compat: a repository that does not ignore it would count as changed.
export PYTHONDONTWRITEBYTECODE := 1
# Reports write paths as the caller can open them, also after `make -C`.
export CALLER_PWD := $(value PWD)

.NOTPARALLEL: # the steps share one clone
.PHONY: help image samcli compat publish changed required nightly engine replay adopt test lint clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^# ---/ { print "\n" substr($$0, 7) } /^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

# --- the gate

image: $(READY) ## build the candidate image and tag it so that sam-cli uses it
	@$(RUN)/image.py

samcli: $(READY) ## check out and install aws-sam-cli at SAMCLI_REFS
	@$(RUN)/samcli.py

compat: image samcli ## both, then the durable tests and the verdict
	@$(RUN)/compat.py

publish: $(READY) ## push exactly what has a green verdict, `latest` last
	@$(RUN)/publish.py

# --- what workflows ask

changed: $(READY) ## do the commits since BASE touch what the gate guards?
	@$(RUN)/changed.py

required: ## the required check's answer, from the results of the jobs before it in NEEDS
	@$(PYTHON) scripts/required.py

nightly: ## open, continue or close the issue about a red night, from NEEDS
	@$(PYTHON) scripts/nightly.py

# --- this template

engine: ## a Docker engine and base images on Debian or Ubuntu, where none answers
	$(FIND_PYTHON)
	@$(PYTHON) scripts/engine.py

clean: ## remove checkouts, venvs and what was found; costs time only
	$(FIND_PYTHON)
	@$(PYTHON) scripts/clean.py

ifneq ($(wildcard scripts/tests),)
replay: $(READY) ## the incident as a demonstration: emulator 1.2.0 (red) and 1.2.1 (green)
	@$(RUN)/replay.py

adopt: $(READY) ## copy the gate into the repository INTO, or update it there
	@$(RUN)/adopt.py

test: $(VENV)/ready-dev ## this template's own tests; what needs an engine is skipped without one
	@$(VENV)/bin/python -m pytest -p no:cacheprovider --config-file=scripts/pyproject.toml scripts/tests

lint: $(VENV)/ready-dev ## ruff, mypy, and zizmor, actionlint and the published schemas for the workflows
	@$(VENV)/bin/python -m ruff format --no-cache --quiet --check scripts
	@$(VENV)/bin/python -m ruff check --no-cache --quiet --output-format=concise scripts
	@$(VENV)/bin/python -m mypy --config-file=scripts/pyproject.toml scripts/*.py scripts/gate scripts/tests
	@$(VENV)/bin/zizmor --offline --quiet --no-progress --persona=auditor --strict-collection $(WORKFLOWS) .github/dependabot.yml
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(VENV)/bin/actionlint -shellcheck= -pyflakes= $(WORKFLOWS)
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
else # a copy in another repository
replay adopt test lint:
	@echo 'error: `make $@` works in the template only' >&2; exit 2
endif

$(READY): scripts/requirements.txt
	$(FIND_PYTHON)
	@case "$$(pwd -P)" in *[:\$$\"\\]* | *$$'\n'*) printf 'error: %q: tools cannot handle : $$ " \\ or a line break in the name of a folder: move this clone\n' "$$(pwd -P)" >&2; exit 2;; esac
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is required: choose one with PYTHON=")' || exit 2
	@mkdir -p .cache && echo '*' >.cache/.gitignore
	@test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg || { echo 'error: $(VENV) exists and is not a venv: remove it' >&2; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'error: no venv could be made: install python3-venv, or choose another PYTHON=' >&2; exit 2; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $< || { echo 'error: the packages of $< could not be installed (see above)' >&2; exit 2; }
	@touch $@

$(VENV)/ready-dev: scripts/requirements-dev.txt $(READY)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $< || { echo 'error: the packages of $< could not be installed (see above)' >&2; exit 2; }
	@touch $@
