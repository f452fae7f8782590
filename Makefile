# Each target does its own set-up. `make demo` and `make test` are all that a new user needs.
SHELL := /bin/bash
PYTHON ?= python3
# torch first and by itself: a later package that depends on it must not choose another build.
TORCH ?= torch==2.13.0
BIN := .venv/bin
READY := .venv/.ready

# Commands are started thousands of times here; what Python has compiled once is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long test-stress test-all test-engines check format docs bench wheel-test clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/pytest -n 2 -m "not real and not slow and not stress"

test-long: $(READY)
	$(BIN)/pytest -n 2 -m "(real or slow) and not engines and not stress" --ignore tests/reliability
	$(BIN)/pytest -m slow tests/reliability  # these fill every core by themselves

test-stress: $(READY)
	$(BIN)/pytest -m stress

test-all: $(READY)
	$(BIN)/pytest -n 2

test-engines: $(READY) .venv-engines/.ready
	$(BIN)/pytest -m engines tests/engines

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/python docs/make_reference.py

bench: $(READY)
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/resolve.py
	$(BIN)/python benchmarks/frozen_install.py

wheel-test:
	$(PYTHON) tests/wheel/check.py

clean:
	rm -rf .venv .venv-engines dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "patchpm needs Python 3.11 or newer"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[model,train,dev]'
	touch $(READY)

# Engines are at home in an environment of their own. torch again first; and what a package brings along that is built
# for another torch would break it.
.venv-engines/.ready: tests/engines/requirements.txt
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/pip install --quiet --disable-pip-version-check "$(TORCH)"
	.venv-engines/bin/pip install --quiet --disable-pip-version-check --requirement tests/engines/requirements.txt
	.venv-engines/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch .venv-engines/.ready
