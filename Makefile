# All that a contributor must learn: make setup, make check, make test, make demo; make pretrain for the weights.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup check test demo pretrain

help:  ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(VENV)/.installed  ## make .venv with the package and the tools

$(VENV)/.installed: requirements.txt pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

check: setup  ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: setup  ## the tests
	$(BIN)/python -m pytest

demo: setup  ## the main job on phantoms: preprocess, train, evaluate, promote
	. $(BIN)/activate && mlflow run .

pretrain: setup  ## the weights that come with the package, made again into data/pretrained: hours, goes on when cut off
	. $(BIN)/activate && mlflow run . -e pretrain
	. $(BIN)/activate && mlflow run . -e pretrain -P backbone=efficientnet-lite0 -P weights=imagenet -P learning_rate=5e-4
