# The sam-cli compat gate. Settings: .env.example. A target runs the script of its name; scripts/gate/ is
# what the scripts share. `FACTS.md#…` in a comment is a heading of docs/FACTS.md.

# Every recipe is plain sh: some machines have no bash (OWASP/Nest#4534).
override SHELL := /bin/sh
PYTHON ?= python3
VENV := .cache/venv
IN_VENV := $(VENV)/bin/python
IS_SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11) and \
	"error: Python 3.11 or newer is required: choose one with PYTHON=")

# What must be gone before Python starts: where another program's modules are.
unexport PYTHONSAFEPATH PYTHONPATH PYTHONHOME
# A line is shown when it is printed, also in a workflow's log.
export PYTHONUNBUFFERED := 1
# A __pycache__ that the repository does not ignore would count as a change of it.
export PYTHONDONTWRITEBYTECODE := 1

.NOTPARALLEL: # the targets write to the same folders
.PHONY: help image samcli compat publish plan required promote clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^# ---/ { print "\n" substr($$0, 7) } /^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the gate

image: $(VENV)/ready ## build the candidate image and tag it so that sam-cli uses it
	@$(IN_VENV) scripts/image.py

samcli: $(VENV)/ready ## check out and install aws-sam-cli at SAMCLI_REFS
	@$(IN_VENV) scripts/samcli.py

compat: image samcli ## run image and samcli, then the durable tests; print the verdict
	@$(IN_VENV) scripts/compat.py

publish: $(VENV)/ready ## push exactly the images with a green verdict; move `latest` last
	@$(IN_VENV) scripts/publish.py

promote: $(VENV)/ready ## point `latest` at VERSION, which was published before
	@$(IN_VENV) scripts/promote.py

clean: ## remove checkouts, venvs and results
	@$(PYTHON) -c '$(IS_SUPPORTED)'
	@$(PYTHON) scripts/clean.py

# --- what workflows ask

plan: $(VENV)/ready ## print whether this run is gated, by BASE or RELEASE_TAG, and what it tests
	@$(IN_VENV) scripts/plan.py

required: ## pass or fail the required check, from the job results in NEEDS
	@$(PYTHON) scripts/required.py

# The venv of the gate's tools.

# These options win over a `user`, `target` or `prefix` of pip.conf (pypa/pip#8977).
INSTALL = -m pip install --quiet --disable-pip-version-check --no-user --target= --prefix=$(VENV) \
	--require-hashes --only-binary :all: --requirement
IMPORTS := import docker, dotenv, packaging

# A venv can outlive its Python (pypa/pipx#146): one that does not work is made again.
WORKS = env -u PYTHONHOME -u PYTHONPATH $(IN_VENV) -c '$(IMPORTS)' >/dev/null 2>&1
ifneq ($(shell $(WORKS) || echo broken),)
.PHONY: $(VENV)/ready
endif

$(VENV)/ready: scripts/requirements.txt
	@$(PYTHON) -c '$(IS_SUPPORTED)'
	@$(PYTHON) -m venv --clear $(VENV) || { echo 'error: $(VENV) cannot be made (see above): fix that, or choose another PYTHON=' >&2; exit 2; }
	@$(IN_VENV) $(INSTALL) $<
	@$(IN_VENV) -c '$(IMPORTS)' || { echo 'error: the packages in $(VENV) cannot be imported (see above)' >&2; exit 2; }
	@touch $@

-include scripts/tools/template.mk
