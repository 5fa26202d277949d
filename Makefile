# crawlmill: set-up, demo and checks. Python 3.11 or later and make are all that `demo` and `test` need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help demo test check lint system-deps clean

help:
	@echo "make demo   build .venv, write a sample crawl, run the web recipe on it"
	@echo "make test   every test that needs only Python"
	@echo "make check  everything: system packages, lint, types, import rules, all tests"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crawlmill needs Python 3.11 or later: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/crawlmill sample $(DEMO)/crawl
	$(BIN)/crawlmill run examples/demo.yaml
	$(BIN)/crawlmill verify $(DEMO)/out

test: $(VENV)/.tested
	$(BIN)/pytest -n auto --dist loadfile -m "not browser and not cluster and not corpus"

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Debian's packages that the browser tests need; installs only what is missing.
system-deps:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  sudo=$$( [ "$$(id -u)" = 0 ] || echo sudo ); \
	  $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends chromium chromium-driver; }

check: export CRAWLMILL_NO_SKIPS = 1
check: system-deps lint test
	$(BIN)/pytest -n auto --dist loadfile -m "corpus and not browser and not cluster"
	$(BIN)/pytest -m "browser or cluster"  # these take the machine for themselves

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
