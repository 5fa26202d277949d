# crawlmill: set-up, demo and checks. Python 3.11 or later and make are all that `demo` and `test` need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help demo test check lint system-deps clean

help:
	@echo "make demo   build .venv, write a sample crawl, run the web recipe and the PDF recipe on it"
	@echo "make test   every test that needs only Python"
	@echo "make check  everything: system packages, lint, types, import rules, all tests"

define MAKE_VENV
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "crawlmill needs Python 3.11 or later: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
endef

$(VENV)/.installed: pyproject.toml deploy/constraints.txt
	$(MAKE_VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c deploy/constraints.txt -e .
	@touch $@

$(VENV)/.tested: pyproject.toml deploy/constraints.txt tests/constraints.txt
	$(MAKE_VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c deploy/constraints.txt -c tests/constraints.txt -e '.[test]'
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/crawlmill sample $(DEMO)/crawl
	$(BIN)/crawlmill run examples/demo.yaml
	$(BIN)/crawlmill verify $(DEMO)/out
	$(BIN)/python -m pipeline.sample.origin --log $(DEMO)/origin.log -- $(BIN)/crawlmill run examples/demo-pdf.yaml
	$(BIN)/crawlmill verify $(DEMO)/out-pdf
	@echo "pages: $(DEMO)/out   PDFs: $(DEMO)/out-pdf   what the PDFs' origin was asked: $(DEMO)/origin.log"

test: $(VENV)/.tested
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m "not (browser or cluster or corpus or ocr or postgres or service)"

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Debian's packages that the browser, database and OCR tests need; installs only what is missing.
system-deps:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null && \
	ls /usr/share/tesseract-ocr/*/tessdata/eng.traineddata /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  sudo=$$( [ "$$(id -u)" = 0 ] || echo sudo ); \
	  $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends \
	    chromium chromium-driver postgresql tesseract-ocr tesseract-ocr-eng; }

check: export CRAWLMILL_NO_SKIPS = 1
check: system-deps lint test
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m "(browser or corpus or ocr or postgres or service) and not cluster"
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m cluster  # mostly waiting for Ray, so two at a time

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
