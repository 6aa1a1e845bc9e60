# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
NAME ?= startup

# Without these glibc gives memory back and takes it again at every training step.
export MALLOC_TRIM_THRESHOLD_ ?= 4294967296
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TOP_PAD_ ?= 268435456
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: setup demo demo-unchecked test test-slow soak check format bench docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	touch $(STAMP)

demo: setup
	$(BIN)/goldsmith demo --out out/demo

demo-unchecked: setup
	$(BIN)/goldsmith demo --unchecked --out out/demo-unchecked

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not soak"

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "slow"

soak: setup
	$(BIN)/python -m pytest -m "soak"

check: setup
	$(BIN)/ruff check src tests benchmarks recipes docs
	$(BIN)/ruff format --check src tests benchmarks recipes docs
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix src tests benchmarks recipes docs
	$(BIN)/ruff format src tests benchmarks recipes docs

bench: setup
	$(BIN)/python benchmarks/$(NAME).py

docs: setup
	$(BIN)/mkdocs build --strict

clean:
	rm -rf out site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
