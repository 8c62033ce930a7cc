# The sam-cli compat gate. Settings: .env.example. A target runs the script of its name; scripts/gate/ is
# what they share. "Fact N" in a comment: see Facts in the template's CONTRIBUTING.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .cache/venv
RUN := @$(VENV)/bin/python scripts
WORKFLOWS := $(wildcard .github/workflows/*.yml)
# The user's other tools do not govern the gate: where Python finds modules, what pip and uv install,
# and where (aws-cdk#8487), which repository git reads in a hook (fact 30), an image's platform.
unexport PYTHONSAFEPATH PYTHONPATH PYTHONHOME
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV UV_REQUIRE_HASHES
unexport GIT_DIR GIT_COMMON_DIR GIT_INDEX_FILE GIT_PREFIX GIT_WORK_TREE GIT_LITERAL_PATHSPECS
unexport GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES DOCKER_DEFAULT_PLATFORM
export GIT_TERMINAL_PROMPT := 0
export PYTHONUNBUFFERED := 1
# A __pycache__ that the repository does not ignore would count as a change of it.
export PYTHONDONTWRITEBYTECODE := 1

.NOTPARALLEL: # the targets write to the same folders
.PHONY: help image samcli compat publish changed required promote engine replay adopt test lint clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^# ---/ { print "\n" substr($$0, 7) } /^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

# --- the gate

image: $(VENV)/ready ## build the candidate image and tag it so that sam-cli uses it
	$(RUN)/image.py

samcli: $(VENV)/ready ## check out and install aws-sam-cli at SAMCLI_REFS
	$(RUN)/samcli.py

compat: image samcli ## run image and samcli, then the durable tests; print the verdict
	$(RUN)/compat.py

publish: $(VENV)/ready ## push exactly the images with a green verdict; move `latest` last
	$(RUN)/publish.py

promote: $(VENV)/ready ## point `latest` at VERSION, which was published before
	$(RUN)/promote.py

clean: ## remove checkouts, venvs and results
	rm -rf .cache .compat

# --- what workflows ask

changed: $(VENV)/ready ## print whether the commits since BASE, or RELEASE_TAG, concern the emulator
	$(RUN)/changed.py

required: ## pass or fail the required check, from the job results in NEEDS
	@$(PYTHON) scripts/required.py

# --- this template

ifneq ($(wildcard scripts/tools),)
engine: ## install and start Docker with the base images, where no engine answers (Debian, Ubuntu)
	@scripts/tools/engine

replay: $(VENV)/ready ## reproduce the incident: emulator 1.2.0 must be red, 1.2.1 green
	$(RUN)/tools/replay.py

adopt: $(VENV)/ready ## copy the gate into the repository INTO, or update the copy there
	$(RUN)/tools/adopt.py

test: $(VENV)/ready-dev ## this template's own tests; those that need an engine are skipped without one
	@$(VENV)/bin/python -m pytest -p no:cacheprovider --config-file=scripts/pyproject.toml --numprocesses=4 --dist=loadscope --no-loadscope-reorder scripts/tests

lint: $(VENV)/ready-dev ## ruff, mypy, and zizmor, actionlint and the published schemas for the workflows
	@$(VENV)/bin/python -m ruff format --no-cache --quiet --check scripts
	@$(VENV)/bin/python -m ruff check --no-cache --quiet --output-format=concise scripts
	@$(VENV)/bin/python -m mypy --config-file=scripts/pyproject.toml scripts/*.py scripts/gate scripts/tools scripts/tests
	@$(VENV)/bin/zizmor --offline --quiet --no-progress --persona=auditor --strict-collection $(WORKFLOWS) .github/dependabot.yml
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(VENV)/bin/actionlint -shellcheck= -pyflakes= $(WORKFLOWS)
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
else # a copy in another repository
engine replay adopt test lint:
	@echo 'error: `make $@` works in the template only' >&2; exit 2
endif

INSTALL = -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement

$(VENV)/ready: scripts/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is required: choose one with PYTHON=")'
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'error: install python3-venv, or choose another PYTHON=' >&2; exit 2; }
	@$(VENV)/bin/python $(INSTALL) $<
	@touch $@

$(VENV)/ready-dev: scripts/requirements-dev.txt $(VENV)/ready
	@$(VENV)/bin/python $(INSTALL) $<
	@touch $@
