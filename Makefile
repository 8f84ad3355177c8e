# make demo   create .venv, install, analyse a model that ships with the repository
# make test   install what the tests need (PyTorch and transformers too), run them
# make lint   ruff, mypy, import-linter
# make format fix what the linters can fix
# make docs   write the outputs shown in README.md and docs/ anew

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet -c constraints.txt
INPUTS := pyproject.toml constraints.txt

DEMO_MODEL  := examples/bert-base.onnx
DEMO_DEVICE := t4
DEMO_REPORT := reports/bert-base-on-t4.html

.PHONY: help demo test lint format docs clean
help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/.core
	@mkdir -p $(dir $(DEMO_REPORT))
	$(BIN)/energy-opt analyze $(DEMO_MODEL) --device $(DEMO_DEVICE) \
	    --dim batch=8 --dim seq=128 --html $(DEMO_REPORT)
	@echo
	@echo "The same as a page to click through: $(DEMO_REPORT)"
	@echo "Now your own model (weights are not needed, nothing is run):"
	@echo "  $(BIN)/energy-opt analyze path/to/model.onnx --device $(DEMO_DEVICE) --dim batch=8"
	@echo "  $(BIN)/energy-opt devices"
	@echo "  $(BIN)/energy-opt --help"
	@echo "To type energy-opt alone, activate the environment once: source $(BIN)/activate"

test: $(VENV)/.test
	$(BIN)/python -m pytest --all-extras $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.core
	$(BIN)/python docs/outputs.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache reports

# Each stamp says that an environment is as pyproject.toml and constraints.txt ask.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "energy-opt needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.made $(INPUTS)
	@echo "Installing energy-opt into $(VENV) (a minute or two, once)"
	@$(PIP) -e .
	@touch $@

# A CPU build of PyTorch is enough: where pip finds one (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL), it is taken.
$(VENV)/.test: $(VENV)/.made $(INPUTS)
	@echo "Installing what the tests need into $(VENV): PyTorch is large, so a few minutes, once"
	@$(PIP) -e '.[cpu,test,torch,search]'
	@touch $@ $(VENV)/.core

$(VENV)/.dev: $(VENV)/.test
	@echo "Installing the linters into $(VENV)"
	@$(PIP) -e '.[cpu,test,torch,search,dev]'
	@touch $@
