# `make quickstart` and `make test` are all a newcomer needs: Python 3.11 or newer, make, a package index.
SHELL := /bin/bash
CANDIDATES := python3 python3.13 python3.12 python3.11
PYTHON ?= $(shell for python in $(CANDIDATES); do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
OLD := .venv-transformers4
PEER := .venv-deepfocus

.PHONY: setup quickstart test docs test-slow test-reliability soak fuzz transformers4 deepfocus

setup: .venv/installed

quickstart: .venv/installed
	$(BIN)/extend quickstart

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# The documentation as a site, in site/: open site/index.html. docs/commands.md is written anew from the commands.
docs: .venv/installed-dev
	$(BIN)/python -m extend.cli.reference > .venv/commands.md && mv .venv/commands.md docs/commands.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-slow: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

# The property tests with trials that no run has had before; what they find becomes an example in its test.
fuzz: .venv/installed-dev
	OMP_NUM_THREADS=1 EXTEND_TRIALS=search $(BIN)/pytest -n 2 $$(grep -rl --include='test_*.py' '@given' tests)

# Kills, full disks and damage: all of them, where `make test` has a part.
test-reliability: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'slow or not slow' tests/reliability

# One run, killed every few seconds for MINUTES.
MINUTES ?= 5
soak: .venv/installed-dev
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.reliability.soak $(MINUTES)

# torch first and pinned, so that nothing that depends on it can pull another build of it.
.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "extend needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "installing into .venv (some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt torch==2.13.0
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

# With it in place `make test-slow` also reads written tokenizers as transformers 4 does.
transformers4: $(OLD)/installed

$(OLD)/installed: constraints-transformers4.txt
	@test -n "$(PYTHON)" || { echo "extend needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(OLD)/bin/python || $(PYTHON) -m venv $(OLD)
	$(OLD)/bin/python -m pip --disable-pip-version-check --quiet install --constraint $< transformers sentencepiece protobuf
	@touch $@

# FOCUS by its authors, for benchmarks/focus_peer.py. fasttext-wheel has wheels up to Python 3.11.
deepfocus: $(PEER)/installed

$(PEER)/installed: constraints-deepfocus.txt
	@test -n "$(PYTHON)" || { echo "make deepfocus PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(PEER)/bin/python || $(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip --disable-pip-version-check --quiet install --constraint $< torch==2.13.0
	$(PEER)/bin/python -m pip --disable-pip-version-check --quiet install --constraint $< transformers datasets entmax \
		fastdist numba fasttext-wheel print-on-steroids scipy
	$(PEER)/bin/python -m pip --disable-pip-version-check --quiet install --constraint $< --no-deps deepfocus
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@
