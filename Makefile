# `make` lists the targets. Needed beforehand: Python >= 3.11, git and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WHOLE  := $(VENV)/.whole

# The xcodec2 package needs an older torch than the tested one, unless it is
# installed without its dependencies; hence an environment of its own, which
# looks into $(VENV) for everything else.
VENV_X := .venv-xcodec2
READYX := $(VENV_X)/.ready
PURE   := import sysconfig; print(sysconfig.get_path("purelib"))

NOISY  ?= examples/noisy.wav
OUTPUT ?= demo
SOURCE ?= llase_mini
ORT_WEB := $(wildcard node_modules/onnxruntime-web-*.tgz)

.PHONY: help setup demo test test-xcodec2 check format docs wheel clean

help:
	@echo "make demo    enhance $(NOISY), draw spectrograms, print DNSMOS"
	@echo "             (NOISY=file, OUTPUT=folder, SOURCE=name or folder)"
	@echo "make test    run the test suite with two workers (ARGS='-m slow' for the"
	@echo "             long proofs, ARGS=--durations=20 for what takes time)"
	@echo "make test-xcodec2  run the tests that need the package xcodec2,"
	@echo "             which gets an environment of its own"
	@echo "make check   format, lint, spelling, YAML, Dockerfile, shell scripts and"
	@echo "             workflow; nothing is changed"
	@echo "make format  format the code and sort its imports"
	@echo "make docs    build the site in site/ (TRY=1: with the page that enhances"
	@echo "             in the visitor's browser, in site/try)"
	@echo "make wheel   build wheel and source archive in dist/, and check them"
	@echo "make setup   only create $(VENV) with the tested set"
	@echo "make clean   remove what was built, environments and demo/ included"

setup: $(READY)

$(READY): setup.py constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is" \
	    "'$$($(PYTHON) --version 2>&1)'. Name another one:" \
	    "make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu" \
	    "install python3-venv, remove $(VENV) and try again." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e ".[dev,evaluation,formats,train]"
	@touch $@

# All extras. For the last two pip has to compile something: without a C
# compiler their tests are skipped.
$(WHOLE): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e ".[demo,docs,export,ray,tables,whisper]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e ".[speaker,pesq]" || \
	  echo "Resemblyzer and pesq could not be installed (is there a C" \
	    "compiler?): the tests of speaker similarity and PESQ will be" \
	    "skipped. To try again, remove $@." >&2
	@touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py --noisy "$(NOISY)" --output "$(OUTPUT)" \
	  --source "$(SOURCE)"

test: $(WHOLE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile \
	  --no-loadscope-reorder -m "not slow and not xcodec2" $(ARGS)

$(READYX): $(READY) constraints.txt
	rm -rf $(VENV_X)
	$(BIN)/python -m venv $(VENV_X)
	echo "import site; site.addsitedir('$$($(BIN)/python -c '$(PURE)')')" \
	  > "$$($(VENV_X)/bin/python -c '$(PURE)')/tested_set.pth"
	$(VENV_X)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt torchtune==0.6.1 torchao==0.16.0 \
	  vector-quantize-pytorch==1.17.8
	$(VENV_X)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps xcodec2==0.1.5 einops==0.8.0
	@touch $@

test-xcodec2: $(READYX)
	$(VENV_X)/bin/python -c "import xcodec2.vq.codec_decoder_vocos"
	$(VENV_X)/bin/python -m pytest -m xcodec2 tests/pretrained $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/yamllint .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows \
	  .github/workflows/*.yml
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/*

format: $(READY)
	$(BIN)/ruff check --fix-only --select I .
	$(BIN)/ruff format .

# With TRY=1, onnxruntime-web is fetched from npm unless the tests kept it.
docs: $(WHOLE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(if $(TRY),$(BIN)/speechbrain-llase demo --static site/try \
	  $(addprefix --onnxruntime-web ,$(firstword $(ORT_WEB))))

wheel: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) $(VENV_X) build demo dist site *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
