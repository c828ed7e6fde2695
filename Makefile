# Every target works in one go on a fresh machine: what it needs is made first.

PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
DEMO_VENV ?= .venv-demo
# Tests pin torch to one thread each, so this many run side by side.
JOBS ?= 2
# A file's tests run in one process: what they share is made, and compiled, once.
BY_FILE := --dist loadfile --no-loadscope-reorder
PYTEST_ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Pins hold for build isolation too.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

DEV_STAMP := $(VENV)/.stamp
DEMO_STAMP := $(DEMO_VENV)/.stamp
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint types layers regen bench clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

demo: $(DEMO_STAMP) ## Train, prune, compile and race two small networks; write demo-report.html
	$(DEMO_VENV)/bin/spcomp demo --out demo-report.html

test: $(DEV_STAMP) ## Run the tests (PYTEST_ARGS='-k nm' for some of them)
	$(BIN)/python -m pytest -n $(JOBS) $(BY_FILE) $(PYTEST_ARGS)

check: lint types layers ## Lint, type-check, and check who imports whom

lint: $(DEV_STAMP) ## ruff, check and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP) ## mypy --strict (passes and sim are seen as spcomp.passes and spcomp.sim)
	$(BIN)/mypy --strict spcomp

layers: $(DEV_STAMP) ## import-linter, rules in .importlinter
	$(BIN)/lint-imports

regen: $(DEV_STAMP) ## Rewrite the golden texts in tests/golden; read the diff before you commit it
	$(BIN)/python -m pytest -n $(JOBS) $(BY_FILE) --regen $(PYTEST_ARGS)

bench: $(DEV_STAMP) ## Run every benchmark, one after another, on a quiet machine; results under benchmarks/results
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@for name in bert_layer compile_time cpu_linear cpu_conv cpu_models sim_validation; do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name --json benchmarks/results/$$name.json || exit 1; \
	done
	$(BIN)/python -m benchmarks.plot --write docs/performance.md

clean: ## Remove the virtual environments, caches and build outputs
	rm -rf $(VENV) $(DEMO_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache demo-report*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment is made anew whenever what it was made from has changed.
$(DEV_STAMP): pyproject.toml constraints.txt
	$(call make_venv,$(VENV),dev)

$(DEMO_STAMP): pyproject.toml constraints.txt
	$(call make_venv,$(DEMO_VENV),demo)

define make_venv
	@[ -n "$(PYTHON)" ] || { echo "no Python 3.11 to 3.13 found; try: make PYTHON=/path/to/python3.11"; exit 1; }
	rm -rf $(1)
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet -c constraints.txt -e '.[$(2)]'
	@touch $(1)/.stamp
endef
