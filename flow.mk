# The build graph: which file is made from which, one command a rule.
#
# Knobs:  PYTHON  BOARD  UNIT  WAVES  ASSIGNMENT  DEVICE  JOBS  BUILD
# Verbs for people are in Makefile.

PYTHON     ?= python3
BUILD      ?= build
JOBS       ?= 2
BOARD      ?= ulx3s
UNIT       ?=
WAVES      ?=
ASSIGNMENT ?=
DEVICE     ?= generic
IMAGES     ?= 32
SIZE       ?= 8

VENV    := .venv
READY   := $(VENV)/.ready
VITRTL  := $(VENV)/bin/vitrtl
NETWORK := $(BUILD)/network/network.json
DEIT    := $(BUILD)/deit/network.json
W4A8    := $(BUILD)/digits_w4a8/network.json
VECTORS := $(BUILD)/vectors/index.json
COVERAGE := $(BUILD)/coverage/vectors/index.json

.DELETE_ON_ERROR:
.SUFFIXES:

# --- set-up ---------------------------------------------------------------------------------------

# Each of these names the program and the Debian package that holds it.
define need
@command -v $(1) >/dev/null 2>&1 || { echo "vitrtl needs '$(1)': apt-get install $(2)" >&2; exit 2; }
endef

$(READY): pyproject.toml
	$(call need,$(PYTHON),python3)
	$(call need,c++,g++)
	$(call need,perl,perl)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vitrtl needs Python 3.11 or newer: apt-get install python3.11, then make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "vitrtl needs Python's venv: apt-get install python3-venv" >&2; exit 2; }
	@echo "Setting up $(VENV) (once, and again when pyproject.toml changes)"
	@rm -f $@
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@# setuptools warns of what an editable install is; we know.
	@PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# --- network, vectors -----------------------------------------------------------------------------

SOFTWARE := $(wildcard sw/*.py sw/*.toml sw/golden/*.py sw/ptq/*.py sw/ptq/weights/*)

$(NETWORK): $(READY) $(SOFTWARE)
	@$(VITRTL) quantize --out $(@D)
	@touch $@

$(DEIT): $(READY) $(SOFTWARE)
	@$(VITRTL) quantize deit_tiny_patch16_224 --random-weights 0 --data random --images 32 --out $(@D)
	@touch $@

$(W4A8): $(READY) $(SOFTWARE)
	@$(VITRTL) quantize --precision w4a8 --out $(@D)
	@touch $@

$(VECTORS): $(NETWORK)
	@$(VITRTL) vectors --network $(<D) --out $(@D)
	@touch $@

$(COVERAGE): $(READY) $(SOFTWARE)
	@$(VITRTL) vectors --coverage --out $(@D)
	@touch $@
