# The sam-cli compat gate. Settings: .env.example. A target runs the script of its name; scripts/gate/ is what they share.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .cache/venv
READY := $(VENV)/ready
RUN := $(VENV)/bin/python scripts
FIND_PYTHON = @command -v $(PYTHON) >/dev/null || { echo 'error: $(PYTHON) was not found: install Python 3.11 or newer, on Debian and Ubuntu the package python3' >&2; exit 2; }
WORKFLOWS := $(wildcard .github/workflows/*.yml)
# Where the venv's Python no longer works, the marker goes, so that the venv is made again.
DROP_BROKEN_VENV := $(shell test ! -e $(READY) || $(VENV)/bin/python -I -c 'import dotenv' 2>/dev/null || rm -f $(READY))
# These change where Python looks for modules.
unexport PYTHONSAFEPATH PYTHONPATH PYTHONHOME
# A __pycache__ that the repository does not ignore would count as a change of it.
export PYTHONDONTWRITEBYTECODE := 1
# Reports print paths relative to the caller's folder, also with `make -C`.
export CALLER_PWD := $(value PWD)

.NOTPARALLEL: # the targets write to the same folders
.PHONY: help image samcli compat publish changed required nightly engine replay adopt test lint clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^# ---/ { print "\n" substr($$0, 7) } /^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

# --- the gate

image: $(READY) ## build the candidate image and tag it so that sam-cli uses it
	@$(RUN)/image.py

samcli: $(READY) ## check out and install aws-sam-cli at SAMCLI_REFS
	@$(RUN)/samcli.py

compat: image samcli ## run image and samcli, then the durable tests; print the verdict
	@$(RUN)/compat.py

publish: $(READY) ## push exactly the images with a green verdict; move `latest` last
	@$(RUN)/publish.py

# --- what workflows ask

changed: $(READY) ## print whether the commits since BASE change a guarded file
	@$(RUN)/changed.py

required: ## pass or fail the required check, from the job results in NEEDS
	$(FIND_PYTHON)
	@$(PYTHON) scripts/required.py

nightly: ## open, update or close the issue about a red nightly run, from NEEDS
	$(FIND_PYTHON)
	@$(PYTHON) scripts/nightly.py

# --- this template

engine: ## install and start Docker on Debian or Ubuntu, where none answers, with the base images
	$(FIND_PYTHON)
	@$(PYTHON) scripts/engine.py

clean: ## remove checkouts, venvs and results; all of it can be made again
	$(FIND_PYTHON)
	@$(PYTHON) scripts/clean.py

ifneq ($(wildcard scripts/tests),)
replay: $(READY) ## reproduce the incident: emulator 1.2.0 must be red, 1.2.1 green
	@$(RUN)/replay.py

adopt: $(READY) ## copy the gate into the repository INTO, or update the copy there
	@$(RUN)/adopt.py

test: $(VENV)/ready-dev ## this template's own tests; those that need an engine are skipped without one
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
	@test ! -L $(VENV) && { test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg; } || { echo 'error: $(VENV) exists and is not a venv of this clone: remove it' >&2; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'error: no venv could be made: install python3-venv, or choose another PYTHON=' >&2; exit 2; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $< || { echo 'error: the packages of $< could not be installed (see above)' >&2; exit 2; }
	@touch $@

$(VENV)/ready-dev: scripts/requirements-dev.txt $(READY)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement $< || { echo 'error: the packages of $< could not be installed (see above)' >&2; exit 2; }
	@touch $@
