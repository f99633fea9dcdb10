# Everything a newcomer or CI needs. Each target sets up what it uses.
#   make demo    the tour, offline
#   make demo-trade   both sides of a simulated book quoted, offline
#   make test    the tests, in three processes at a time, for they wait more than they work (WORKERS=0: in one)
#   make nightly-faults   1,000 random fault schedules, judged (JOBS=3)
#   make peer    hftbacktest, which reads an export in a test, in an environment of its own: it needs an older NumPy
#   make check   lint and types
#   make bench   times beside orjson.loads and peers (BENCH=decode BENCH_FLAGS="--data FILE")
#   make instructions   instructions per frame, held against the stored count
#   make cookbook pictures notebook   the answers of docs/cookbook.md, docs/images and docs/notebook.ipynb, made anew
#   make fuzz    a million programs against the C core under sanitizers (FUZZ_EXECUTIONS=...); fuzz-decoder: frames
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
WORKERS ?= 3
BIN    := $(VENV)/bin

SOURCES := $(wildcard execution/desk/*.pyx engine/core/*.pyx engine/core/*.pxd engine/core/src/*.c engine/core/src/*.h)

.PHONY: demo demo-trade test peer test-nightly nightly-faults check format build bench instructions coverage cookbook pictures notebook fuzz fuzz-decoder clean help

help:
	@sed -n 's/^#   //p' Makefile

# The preflight says what is missing and how to get it, before pip fails with a page of text.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "tapebook needs Python 3.11 or newer: apt-get install python3 python3-venv python3-dev, or brew install python@3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tapebook needs Python 3.11 or newer, found $$($(PYTHON) --version); set PYTHON=python3.12, say"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "this Python has no venv: apt-get install python3-venv"; exit 2; }
	@{ command -v cc || command -v gcc || command -v clang; } >/dev/null 2>&1 || { echo "tapebook compiles its core and finds no C compiler: apt-get install build-essential, or xcode-select --install"; exit 2; }
	@$(PYTHON) -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || { echo "the Python headers are missing: apt-get install python3-dev"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# One stamp per set of dependencies; the extensions are rebuilt when their sources change.
$(VENV)/.installed: pyproject.toml setup.py $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

build: $(VENV)/.installed

demo: build
	rm -rf demo-data
	$(BIN)/tapebook demo --data demo-data

demo-trade: build
	$(BIN)/python -m execution.demo

test: build
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

peer: build
	test -x $(VENV)/peer/bin/python || $(PYTHON) -m venv $(VENV)/peer
	$(VENV)/peer/bin/python -m pip install --quiet 'hftbacktest>=2.4'

test-nightly: build
	TAPEBOOK_NIGHTLY=1 $(BIN)/python -m pytest --hypothesis-profile nightly

nightly-faults: build
	$(BIN)/python -m tests.faults.schedules 0 --count 1000 --jobs $(JOBS)

coverage: build
	$(BIN)/python -m pytest --cov --cov-report=term --cov-report=html

check: build
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: build
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

FUZZ_EXECUTIONS ?= 1000000
FUZZ_SEED       ?= 1
fuzz:
	$(MAKE) -C tests/fuzz run FUZZ_EXECUTIONS=$(FUZZ_EXECUTIONS) FUZZ_SEED=$(FUZZ_SEED)
fuzz-decoder:
	$(MAKE) -C tests/fuzz run-decoder FUZZ_EXECUTIONS=$(FUZZ_EXECUTIONS) FUZZ_SEED=$(FUZZ_SEED)

BENCH       ?= decode columns replay book growth
BENCH_FLAGS ?=
bench: build
	@for name in $(BENCH); do $(BIN)/python -m benchmarks $$name $(BENCH_FLAGS) || exit; done

instructions: build
	$(BIN)/python -m benchmarks instructions --baseline benchmarks/baseline_instructions.json

# Read what `git diff` says before committing what these write.
cookbook: build
	$(BIN)/python -m tests.cookbook
pictures: build
	$(BIN)/python -m tests.pictures
notebook: build
	$(BIN)/python -m pip install --quiet --editable '.[notebook]'
	$(BIN)/python -m tests.notebook

clean:
	rm -rf build .venv demo-data htmlcov .coverage engine/core/*.so engine/core/*.c engine/core/*.html execution/desk/*.so execution/desk/*.c execution/desk/*.html *.egg-info
