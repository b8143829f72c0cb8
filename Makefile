# Two commands on a fresh machine: `make serve` and `make test`. `make help` lists the others.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
NEWEST = $(shell PYENV_VERSION=3.13 python3.13 -c 'import sys; print(sys.executable)')
READY := $(VENV)/.ready
PORT ?= 8000
CONFIG ?=
DEVICE ?= cpu
QUICK ?=
BENCHED := $(VENV)/.ready-bench
SCORED := $(VENV)/.ready-scoreboard
DEPLOYED := $(VENV)/.ready-deploy
BROWSER := $(VENV)/.ready-browser
CLIENTS := $(CURDIR)/build/clients
PYTHON_CLIENTS := $(patsubst tests/clients/requirements/%.txt,$(CLIENTS)/%/.ready,$(wildcard tests/clients/requirements/*.txt))
FAST := $(BIN)/python -m pytest -m 'not full and not deploy and not cuda and not browser' --numprocesses 2 --dist loadfile --no-loadscope-reorder
STARTING := $(filter-out tests/cli/test_start_up.py,$(wildcard tests/cli/test_*.py)) tests/test_readme_examples.py \
  tests/jobs/test_kill.py tests/jobs/test_recipes.py tests/threats/test_configuration.py tests/threats/test_lifecycle.py
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2

.DEFAULT_GOAL := help
.PHONY: help setup newest clients serve test test-avx2 test-newest test-full test-long test-browser test-clients test-deploy \
  test-image lint check bench gpu scoreboard train-demo

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY) ## make .venv with the pinned dependencies

$(READY): pyproject.toml configs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint configs/constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint configs/constraints.txt --editable '.[dev]'
	@touch $(READY)

serve: $(READY) ## serve on PORT (8000) with the embedded checkpoint, or with CONFIG=FILE
	$(BIN)/blip-serve serve --port $(PORT) $(if $(CONFIG),--config $(CONFIG))

test: $(READY) ## the fast tests: under 5 minutes on 2 cores, no network
	$(FAST)

test-avx2: $(READY) ## the fast tests as on a CPU that has AVX2 only, without those that mostly start processes
	$(AVX2) $(FAST) $(addprefix --ignore=,$(STARTING))

test-newest: newest ## the same on Python 3.13, the newest that is tested
	$(MAKE) test-avx2 VENV=build/py313

newest: ## make build/py313, the environment of test-newest
	$(MAKE) setup VENV=build/py313 PYTHON="$(or $(NEWEST),python3.13)"

test-full: $(READY) ## parity at full base and large size: minutes, and 10 GB of memory
	$(BIN)/python -m pytest -m 'full and not long' -s

test-long: $(READY) ## what test-full leaves out: doctor, ten models and memory at base and large size
	$(BIN)/python -m pytest -m long -s

test-clients: $(READY) clients ## LangChain, LiteLLM, pydantic-ai, llm, llama-index, Cohere, datasets, the AI SDK (Node), openai's
	TEST_CLIENTS=$(CLIENTS) $(BIN)/python -m pytest tests/clients

clients: $(PYTHON_CLIENTS) ## download the clients of test-clients
	cp tests/clients/package.json $(CLIENTS)
	command -v npm >/dev/null && npm install --prefix $(CLIENTS) --no-package-lock --no-audit --no-fund \
	  || echo "npm's clients are not installed: their tests are skipped" >&2

$(CLIENTS)/%/.ready: tests/clients/requirements/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

test-browser: $(BROWSER) ## pages in a real Chromium: scripts/deploy/install.sh browser first
	$(BIN)/python -m pytest -m browser tests/browser

$(BROWSER): $(READY)
	$(BIN)/pip install --quiet --constraint configs/constraints.txt --editable '.[browser]'
	@touch $(BROWSER)

test-deploy: $(DEPLOYED) ## real balancers, Redis, Prometheus, the chart, a Ray cluster: scripts/deploy/install.sh first
	$(BIN)/python -m pytest -m deploy -s tests/deploy

$(DEPLOYED): $(READY)
	$(BIN)/pip install --quiet --constraint configs/constraints.txt --editable '.[deploy,ray]'
	@touch $(DEPLOYED)

test-image: ## build the image without Docker, start it and ask it: as root, after `scripts/deploy/install.sh image`
	scripts/deploy/build_image.sh
	scripts/deploy/check_image.sh

lint: $(READY) ## ruff and mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test test-full ## lint, test and test-full

bench: $(BENCHED) ## the benchmark: 15 to 40 minutes on 2 cores; QUICK=1 under 2; DEVICE=cuda on a GPU
	PYTHONPATH=scripts:. $(BIN)/python -m bench --device $(DEVICE) $(if $(QUICK),--quick)

$(BENCHED): $(READY)
	$(BIN)/pip install --quiet --constraint configs/constraints.txt --editable '.[bench]'
	@touch $(BENCHED)

gpu: ## tests and a quick benchmark on a CUDA card, under 8 minutes, no network; without a card a trial on the CPU
	PYTHON=$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) scripts/gpu/run.sh

scoreboard: $(SCORED) $(BROWSER) ## what the service withstands, in one table: under 25 minutes on 2 cores; QUICK=1 under 6
	PYTHONPATH=scripts:. $(BIN)/python -m scoreboard $(if $(QUICK),--quick)

$(SCORED): $(READY)
	$(BIN)/pip install --quiet --constraint configs/constraints.txt --editable '.[scoreboard]'
	@touch $(SCORED)

train-demo: $(READY) ## train the embedded checkpoints anew (about two hours on 2 cores)
	$(BIN)/python scripts/train_demo.py retrieval
	$(BIN)/python scripts/train_demo.py captioning
	$(BIN)/python scripts/train_demo.py vqa
