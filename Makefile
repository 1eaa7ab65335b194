# make demo: the main job.  make test: the tests.  Both set up what they need in .venv; neither needs root.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
AREA   ?= planning
DEMO_ARGS ?=
PYTEST_ARGS ?=

SOAK_ARGS ?=

.PHONY: demo test lint format bench soak gallery warm setup system-deps clean help

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Workshed needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	-@$(BIN)/python -m designs.toolpath.warm
	@touch $@

demo: setup ## run the main job: from designs to finished parts on simulated machines
	@$(BIN)/workshed demo $(DEMO_ARGS)

test: setup ## run the tests; says which real parts it did not find
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: setup ## ruff, format, mypy, import arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## rewrite to the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## make bench AREA=planning|bridges|designs|dispatch
	@$(BIN)/python -m tests.benchmarks.$(AREA)

warm: setup ## compile the planner's core once, for networks of hundreds of jobs (a minute or more)
	@$(BIN)/python -m designs.toolpath.warm
	@$(BIN)/python -m scheduler.planning.warm

gallery: setup ## pictures of every catalogue design and toolpath, in build/gallery
	@$(BIN)/python -m designs.gallery

soak: setup ## thousands of random faults (SOAK_ARGS='--scenarios 10000 --seed 1', or '--processes --workers 2')
	@$(BIN)/python -m tests.faults.soak $(SOAK_ARGS)

system-deps: ## install the real parts the full tests want (Debian, root)
	apt-get update -q
	apt-get install -y -q --no-install-recommends mosquitto mosquitto-clients prometheus chromium prusa-slicer gcc libc6-dev iproute2 util-linux

clean: ## remove what setup made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
