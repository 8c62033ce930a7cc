# The sam-cli compat gate. Settings: .env.example. The logic is in scripts/.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .cache/venv
READY := $(VENV)/ready
RUN := $(VENV)/bin/python scripts
WORKFLOWS := $(addprefix .github/workflows/,sam-cli-compat.yml ecr-release.yml ci.yml)
# They would keep Python from finding the scripts' modules, or find others.
unexport PYTHONSAFEPATH PYTHONPATH PYTHONHOME
# Nothing is written outside of .cache and .compat: a repository that does not ignore it would count as changed.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help image samcli compat publish changed required test bench lint packages clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

image: $(READY) ## build the candidate image and tag it so that sam-cli uses it
	@$(RUN)/image.py

samcli: $(READY) ## check out and install aws-sam-cli at SAMCLI_REFS
	@$(RUN)/samcli.py

compat: $(READY) ## image and samcli side by side, then the durable tests and the verdict
	@$(MAKE) --no-print-directory --jobs=2 image samcli
	@$(RUN)/compat.py

publish: $(READY) ## push exactly what has a green verdict, `latest` last
	@$(RUN)/publish.py

changed: $(READY) ## whether the commits since BASE touch GATED_PATHS
	@$(RUN)/changed.py

required: ## the required check's answer, from the results of the jobs before it in NEEDS
	@$(PYTHON) scripts/required.py

test: $(READY) ## this template's own tests; what needs an engine is skipped without one
	@$(VENV)/bin/python -m pytest -rs -p no:cacheprovider --config-file=scripts/pyproject.toml scripts/tests

bench: $(READY) ## compare the suite in one process with the suite in shards
	@$(RUN)/bench.py

lint: $(READY) ## ruff, mypy, and in the template what zizmor and the published schemas say of its workflows
	@$(VENV)/bin/python -m ruff format --no-cache --quiet --check scripts
	@$(VENV)/bin/python -m ruff check --no-cache --quiet --output-format=concise scripts
	@$(VENV)/bin/python -m mypy --config-file=scripts/pyproject.toml scripts/*.py scripts/insuite scripts/tests
ifneq ($(wildcard .ci/run),) # elsewhere other people's workflows are there too
	@$(VENV)/bin/zizmor --offline --quiet --no-progress --strict-collection $(WORKFLOWS) .github/dependabot.yml
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
endif

packages: ## install what the engine tests need besides an engine, on Debian or Ubuntu
	@sudo apt-get update -qq
	@sudo apt-get install -y -qq --no-install-recommends busybox-static docker-registry >/dev/null

clean: ## remove checkouts, venvs and findings; costs time only
	rm -rf .cache .compat

$(READY): scripts/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed: give one with PYTHON=")'
	@mkdir -p .cache && echo '*' >.cache/.gitignore
	@test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg || { echo 'error: $(VENV) is there and is no venv: remove it' >&2; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'error: no venv could be made: install python3-venv, or give another PYTHON=' >&2; exit 2; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< || { echo 'error: the packages of $< could not be installed (see above)' >&2; exit 2; }
	@touch $@
