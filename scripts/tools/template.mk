# What only the template needs: `make adopt` copies neither this file nor what it calls.
WORKFLOWS := $(wildcard .github/workflows/*.yml)
.PHONY: engine replay adopt test lint

# --- this template

engine: ## install and start Docker with the base images, where no engine answers (Debian, Ubuntu)
	@scripts/tools/engine

replay: $(VENV)/ready ## reproduce the incident: emulator 1.2.0 must be red, 1.2.1 green
	$(RUN)/tools/replay.py

adopt: $(VENV)/ready ## copy the gate into the repository INTO, or update the copy there
	$(RUN)/tools/adopt.py

test: $(VENV)/ready-dev ## this template's own tests; those that need an engine are skipped without one
	@$(VENV)/bin/python -m pytest -p no:cacheprovider --config-file=scripts/pyproject.toml --numprocesses=3 --dist=loadscope --no-loadscope-reorder scripts/tests

lint: $(VENV)/ready-dev ## ruff, mypy, and zizmor, actionlint and the published schemas for the workflows
	@$(VENV)/bin/python -m ruff format --no-cache --quiet --check scripts
	@$(VENV)/bin/python -m ruff check --no-cache --quiet --output-format=concise scripts
	@$(VENV)/bin/python -m mypy --config-file=scripts/pyproject.toml scripts/*.py scripts/gate scripts/tools scripts/tests
	@$(VENV)/bin/zizmor --offline --quiet --no-progress --persona=auditor --strict-collection $(WORKFLOWS) .github/dependabot.yml
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(VENV)/bin/actionlint -shellcheck= -pyflakes= $(WORKFLOWS)
	@$(VENV)/bin/python -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

$(VENV)/ready-dev: scripts/requirements-dev.txt $(VENV)/ready
	@$(VENV)/bin/python $(INSTALL) $<
	@touch $@
