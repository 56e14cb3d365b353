# Two commands do everything on a fresh machine with Python 3.11 to 3.14 and a package index:
#   make train    the demo; BACKEND=torch|mindspore, and ARGS="..." for anything else `xfer train` understands
#   make test     every test, on both frameworks: MindSpore, and so this, needs Python 3.11 or 3.12
# and make bench measures xfer against its peers, in an environment of its own: ARGS="--images FOLDER --weights FILE"
# make docs makes a site of the pages of docs/: open site/index.html
BACKEND ?= torch
ARGS ?=
# Those that both frameworks run on come first.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3 python3.14 python3.13))
VENV := .venv
READY := $(VENV)/.ready

BENCH := .venv-bench
DOCS := .venv-docs

# With pip's own progress where somebody watches (standard output is taken by the substitution), quietly into a log.
PIP_FLAGS = --disable-pip-version-check $$(test -t 2 || echo --quiet)

.PHONY: train test test-long lint fuzz sweep chaos parity-all cuts-all bench docs clean both
train: $(if $(filter mindspore,$(BACKEND)),both) $(READY)
	$(VENV)/bin/xfer train --backend $(BACKEND) $(ARGS)

# A framework that is missing here is an error and not a skip. Two processes, each with whole files of tests, and each with
# one thread: threads that wait for each other in both took three quarters of the time.
test: both $(READY)
	OMP_NUM_THREADS=1 XFER_TEST_BACKENDS=torch,mindspore $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# What `make test` leaves out for its length, alone: a shorter test there holds the law of each.
test-long: both $(READY)
	OMP_NUM_THREADS=1 XFER_TEST_LONG=1 XFER_TEST_BACKENDS=torch,mindspore $(VENV)/bin/python -m pytest -m long $(ARGS)

# Said in one line, before gigabytes are installed for nothing.
TOO_NEW := MindSpore needs Python 3.11 or 3.12, and this is %d.%d. Cure: make $(MAKECMDGOALS) PYTHON=python3.12
both:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("$(TOO_NEW)" % v[:2] if v >= (3, 13) else None)'

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Coverage-guided, of every door through which bytes of others come in, or of one: make fuzz DOOR=picture SECONDS=600
SECONDS ?= 30
DOOR ?=
fuzz: $(VENV)/.fuzz
	$(VENV)/bin/python -m fuzz $(DOOR) --seconds $(SECONDS)

# Hostile calls through the command line: make sweep CALLS=2000 SEED=7
CALLS ?= 700
SEED ?= 1
sweep: $(READY)
	$(VENV)/bin/python tests/sweep.py --calls $(CALLS) --seed $(SEED) $(ARGS)

# Kills, full disks, signals and swapped files at moments of chance: make chaos SECONDS=3600 ARGS="--seed 7"
chaos: SECONDS = 900
chaos: both $(READY)
	$(VENV)/bin/python -m tests.chaos --seconds $(SECONDS) $(ARGS)

# Every network against torchvision's module and on both frameworks, which takes long: make parity-all ARGS="'vit_*'"
parity-all: both $(READY)
	$(VENV)/bin/python -m tests.parity_all $(ARGS)

# Frozen is frozen, and kept features change no bit, at every cut of a network of each family.
cuts-all: both $(READY)
	$(VENV)/bin/python -m tests.cuts_all $(ARGS)

$(VENV)/.fuzz: $(READY)
	@echo "installing atheris into $(VENV)"
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[fuzz]'
	touch $@

bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks $(ARGS)

$(BENCH)/.ready: pyproject.toml constraints.txt benchmarks/requirements.txt
	@echo "installing xfer, PyTorch, MindSpore and its peers into $(BENCH): gigabytes, which takes minutes"
	rm -rf $(BENCH)
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[all]' \
	  -r benchmarks/requirements.txt
	touch $@

# Ends where a link leads nowhere, and where docs/cli.md is not what the commands say. No framework is installed for it.
# Not with --quiet: MkDocs counts no warning then, and --strict ends nothing.
docs: $(DOCS)/.ready
	$(DOCS)/bin/python tools/cli_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --config-file tools/mkdocs.yml

$(DOCS)/.ready: pyproject.toml constraints.txt
	@echo "installing xfer and MkDocs into $(DOCS)"
	rm -rf $(DOCS)
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	touch $@

# Stale is: older than what it was made from, or its Python no longer runs.
ifneq ($(shell $(VENV)/bin/python -c 'print(1)' 2>/dev/null),1)
.PHONY: $(READY)
endif
$(READY): pyproject.toml constraints.txt
	@echo "installing xfer, its frameworks and its development tools into $(VENV): gigabytes, which takes minutes"
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) $(BENCH) $(DOCS) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
