# What only the template needs: `make adopt` copies neither this file nor what it calls.
WORKFLOWS := $(wildcard .github/workflows/*.yml)
.PHONY: engine replay adopt test lint

# --- this template

engine: ## install and start Docker where no engine answers, get the base images (Debian, Ubuntu)
	scripts/tools/install-engine
	scripts/tools/stand-ins

replay: $(VENV)/ready ## reproduce the incident: emulator 1.2.0 must be red, 1.2.1 green
	@$(IN_VENV) scripts/tools/replay.py

adopt: $(VENV)/ready ## copy the gate into the repository INTO, or update the copy there
	@$(IN_VENV) scripts/tools/adopt.py

test: $(VENV)/ready-dev ## this template's own tests; those that need an engine are skipped without one
	@$(IN_VENV) -m pytest -p no:cacheprovider --config-file=scripts/pyproject.toml --numprocesses=3 --dist=loadscope --no-loadscope-reorder scripts/tests

lint: $(VENV)/ready-dev ## ruff, mypy, and zizmor, actionlint and the published schemas for the workflows
	@$(IN_VENV) -m ruff format --no-cache --quiet --check scripts
	@$(IN_VENV) -m ruff check --no-cache --quiet --output-format=concise scripts
	@$(IN_VENV) -m mypy --config-file=scripts/pyproject.toml scripts/*.py scripts/gate scripts/tools scripts/tests
	@$(VENV)/bin/zizmor --offline --quiet --no-progress --persona=auditor --strict-collection $(WORKFLOWS) .github/dependabot.yml
	@$(IN_VENV) -m check_jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(VENV)/bin/actionlint -shellcheck= -pyflakes= $(WORKFLOWS)
	@$(IN_VENV) -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

$(VENV)/ready-dev: scripts/requirements-dev.txt $(VENV)/ready
	@$(IN_VENV) $(INSTALL) $<
	@touch $@
