# The one file of commands. `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test campaigns stateful-campaign crash-campaign check bench docs lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     set up, then run the main job on a real grid's data (about two minutes)"
	@echo "make test     set up, then run the whole test suite"
	@echo "make stateful-campaign   play the market at random for minutes (EXAMPLES=1000)"
	@echo "make crash-campaign      kill real servers under load and look for what is lost (KILLS=500)"
	@echo "make campaigns           tests that take minutes: hundreds of home agents, column generation, compiling beside a server"
	@echo "make check    ruff, mypy --strict, import contracts"
	@echo "make bench    measure ours and its peers in one run"
	@echo "make docs     regenerate what is derived from code"
	@echo "make lock     resolve the locked versions anew (needs uv)"

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gridparley needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "cannot create a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	$(BIN)/gridparley demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

EXAMPLES ?= 1000
campaigns: install
	$(BIN)/python -m pytest -m campaign

stateful-campaign: install
	GRIDPARLEY_STATEFUL_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --timeout 0 tests/stateful/market

KILLS ?= 500
crash-campaign: install
	$(BIN)/python tests/crash/campaign.py --kills $(KILLS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/gridparley bench all

docs: install
	$(BIN)/python -m interop.docs

lock:
	uv pip compile pyproject.toml --extra test --extra check --extra fast --extra dask --extra forecast --extra mqtt --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock

clean:
	rm -rf $(VENV) run build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
