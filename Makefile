# Each target does all of its own set-up: a machine needs python3 (3.11 or newer), git and the package registries.
.DEFAULT_GOAL := help
.PHONY: help serve test cover check bench docs format clean

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PLUGINS := $(wildcard plugins/*)
EDITABLE := -e '.[server,postgres,client]' $(foreach plugin,$(PLUGINS),-e $(plugin))
# The judgement itself: every branch of it is taken by these tests.
CORE := src/secure_delivery/gate/policy.py,src/secure_delivery/gate/model.py,src/secure_delivery/gate/reading.py,src/secure_delivery/gate/decide.py
CORE_TESTS := tests/gate/test_policy.py tests/gate/test_model.py tests/gate/test_decide.py
MANIFESTS := pyproject.toml $(wildcard plugins/*/pyproject.toml)

help:
	@echo "make serve   install everything and start the server with a picture to try"
	@echo "make test    install everything and run all tests"
	@echo "make cover   every branch of the judgement, by its own tests"
	@echo "make check   lint, types and floors"
	@echo "make docs    build the documentation into site/"
	@echo "make bench   measure against the peers (see bench/README.md)"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.serve: $(BIN)/python $(MANIFESTS)
	$(BIN)/python -m pip install --quiet $(EDITABLE)
	@touch $@

$(VENV)/.dev: $(BIN)/python $(MANIFESTS)
	$(BIN)/python -m pip install --quiet $(EDITABLE) --group test --group check --group docs
	@touch $@ $(VENV)/.serve

serve: $(VENV)/.serve
	$(BIN)/secure-delivery serve --demo

test: $(VENV)/.dev
	@sh tools/ensure-programs.sh
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

cover: $(VENV)/.dev
	$(BIN)/python -m coverage run -m pytest -q $(CORE_TESTS)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --include='$(CORE)' --skip-covered --fail-under=100

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src $(wildcard plugins/*/src)
	$(BIN)/python -m pytest -q tests/test_floors.py tests/test_tree.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -r bench/requirements.txt
	$(BIN)/python bench/run.py $(ARGS)

clean:
	rm -rf $(VENV) site htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache
