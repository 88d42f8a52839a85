# The two commands of the README are `make demo` and `make test`; `make help` lists all.
# A virtual environment is made once and again only when pyproject.toml has changed.

PYTHON ?= python3
VENV ?= .venv
VENV_TEST ?= .venv-test
# Where torch comes from, e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu for the build without CUDA.
TORCH_INDEX ?=
PYTEST_ARGS ?=
# What `make bundle` trains, and where it puts it.
RECIPE ?= mini
CHECKPOINT ?= var/checkpoints/m3bind-$(RECIPE)
BUNDLE ?= dicom_node/assets/m3bind-$(RECIPE)

SERVING := $(VENV)/.m3bind-serving
TESTING := $(VENV_TEST)/.m3bind-testing
TORCH := $(shell sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
PEERS := orthanc orthanc-python orthanc-dicomweb orthanc-gdcm dcmtk dicom3tools pixelmed-apps chromium

PIP := -m pip --disable-pip-version-check --require-virtualenv

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench samples bundle clean peers
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(SERVING) ## one study per modality through the node; page on http://127.0.0.1:8043 until Ctrl-C (ONCE=1 ends by itself)
	@exec $(VENV)/bin/dicom-node demo $(if $(filter-out 0,$(ONCE)),--once)

test: $(TESTING) peers lint ## install what the tests need, then check and test everything
	@echo "==> tests"
	@exec $(VENV_TEST)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(TESTING) ## ruff, mypy and the layer contracts
	@echo "==> ruff"
	@$(VENV_TEST)/bin/ruff check .
	@$(VENV_TEST)/bin/ruff format --check .
	@echo "==> mypy"
	@$(VENV_TEST)/bin/mypy
	@echo "==> import contracts"
	@$(VENV_TEST)/bin/lint-imports

bench: $(TESTING) peers ## how long a study takes, part by part
	@exec $(VENV_TEST)/bin/python tests/benchmarks/bench_latency.py

samples: $(TESTING) ## make the sample studies again from the training data; M3BIND_DATA names its folder
	@exec $(VENV_TEST)/bin/python deploy/make_samples.py

bundle: $(TESTING) ## train, evaluate and seal m3bind-mini again from the training data; M3BIND_DATA names its folder
	@exec $(VENV_TEST)/bin/m3bind run $(RECIPE) --out $(CHECKPOINT) --bundle $(BUNDLE)

clean: ## remove caches, and the virtual environments that make made
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
	@if [ -e "$(SERVING)" ]; then echo "rm -rf $(VENV)"; rm -rf "$(VENV)"; fi
	@if [ -e "$(TESTING)" ]; then echo "rm -rf $(VENV_TEST)"; rm -rf "$(VENV_TEST)"; fi

# Without the right to install, the tests that need a peer are skipped with their reason; in CI that is a failure.
peers:
	@echo "==> Debian packages"
	@deploy/debian-packages.sh $(PEERS) || [ "$$CI" != "true" ]

define new_venv
	@echo "==> virtual environment $(1)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed, and '$(PYTHON)' is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || deploy/debian-packages.sh python3-venv
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(1)
endef

$(SERVING): pyproject.toml
	$(call new_venv,$(VENV))
	@echo "==> serving dependencies (no torch); this happens once"
	@$(VENV)/bin/python $(PIP) install --prefer-binary -e '.[cpu]'
	@touch $@

# torch comes first: what depends on it would otherwise choose a build of it.
$(TESTING): pyproject.toml
	$(call new_venv,$(VENV_TEST))
	@echo "==> $(TORCH); this happens once and is large"
	@$(VENV_TEST)/bin/python $(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	@echo "==> training, serving and test dependencies"
	@$(VENV_TEST)/bin/python $(PIP) install --prefer-binary -e '.[cpu,train,samples,dev]'
	@touch $@
