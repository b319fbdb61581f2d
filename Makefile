# All that a contributor must learn: make setup, make check, make test, make demo; make pretrain for the weights.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup check test demo reference pretrain

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

reference: setup  ## docs/reference/parameters.md, made again from the code
	$(BIN)/python -m ich_mlflow.stages.reference

# A stamp each: what was cut off in the second must not begin the first anew. Remove the folder to make both again.
PRETRAINED := data/pretrained
pretrain: $(PRETRAINED)/.b0-made $(PRETRAINED)/.lite0-made  ## the package's weights, made again into data/pretrained: hours, goes on when cut off

$(PRETRAINED)/.b0-made: | setup
	. $(BIN)/activate && mlflow run . -e pretrain
	touch $@

$(PRETRAINED)/.lite0-made: | setup $(PRETRAINED)/.b0-made
	. $(BIN)/activate && mlflow run . -e pretrain -P backbone=efficientnet-lite0 -P weights=imagenet -P learning_rate=5e-4 -P epochs=8
	touch $@
