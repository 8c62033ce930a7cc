# The sam-cli compat gate. Settings: .env.example. A target runs the script of its name; scripts/gate/ is
# what they share. "Fact N" in a comment: see Facts in the template's CONTRIBUTING.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .cache/venv
RUN := @$(VENV)/bin/python scripts
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
.PHONY: help image samcli compat publish changed required promote clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^# ---/ { print "\n" substr($$0, 7) } /^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

INSTALL = -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement

$(VENV)/ready: scripts/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is required: choose one with PYTHON=")'
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'error: install python3-venv, or choose another PYTHON=' >&2; exit 2; }
	@$(VENV)/bin/python $(INSTALL) $<
	@touch $@

-include scripts/tools/template.mk
