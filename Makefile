# Every command of the project. `make` alone lists them; the first one that needs it sets up .venv.
PY      ?=
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.ok
PYTEST  := $(BIN)/python -m pytest
# Two processes: what CI has cores for. NPROC=0 runs in one, for a debugger.
NPROC   ?= 2
FAST    := $(wildcard tests/unit tests/conformance tests/acceptance)

# Tests may hold URLs with made-up passwords.
SECRETS := $(BIN)/detect-secrets-hook --baseline .secrets.baseline

.DEFAULT_GOAL := help
.PHONY: help run setup test check scan format test-all browser fuzz faults bench docs lock clean

help: ## Print this list.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

run: $(STAMP) ## Start Pulser on http://127.0.0.1:8000, run the demo and keep serving (PORT, PULSER_DATA_DIR).
	$(BIN)/pulser serve --demo $(if $(PORT),--port $(PORT))

setup: $(STAMP) ## Make the environment in .venv, and nothing else.

$(STAMP): requirements.lock pyproject.toml scripts/set_up.sh
	@PY='$(PY)' sh scripts/set_up.sh

test: $(STAMP) ## Set up and run the fast tests, on SQLite and Postgres, with coverage (under 5 minutes).
	$(PYTEST) $(FAST) -n $(NPROC) --cov --cov-report=term:skip-covered --cov-fail-under=85

check: $(STAMP) ## Check format, lint, types, import directions, secrets, generated pages and the lock.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/generate_docs.py --check
	$(BIN)/python -m pytest -q tests/unit/test_repository.py
	$(MAKE) --no-print-directory scan

scan: $(STAMP) ## Look for secrets in what is committed, and for unsafe code.
	git ls-files -z -- . ':!tests' | xargs -0 $(SECRETS)
	git ls-files -z -- tests | xargs -0 $(SECRETS) --disable-plugin BasicAuthDetector
	$(BIN)/ruff check --select S --ignore S603,S607 pulser scripts  # S603, S607: every call is a list, never a shell

format: $(STAMP) ## Format the code and mend what the linter can mend.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

test-all: test browser faults fuzz ## Run everything: test, browser, faults, fuzz.

browser: $(STAMP) ## Drive the pages in a real browser (Debian's chromium).
	$(if $(wildcard tests/browser),$(PYTEST) tests/browser,@echo 'There are no browser tests yet.')

fuzz: $(STAMP) ## Fuzz the API from its own OpenAPI document.
	$(if $(wildcard tests/fuzz),$(PYTEST) tests/fuzz,@echo 'There are no fuzz tests yet.')

faults: $(STAMP) ## Kill, stop and starve running workers; SHORT=1 does fewer rounds.
	$(if $(wildcard tests/faults),$(if $(SHORT),PULSER_TEST_SHORT=1) $(PYTEST) tests/faults,@echo 'There are no fault tests yet.')

bench: $(STAMP) ## Measure speed into bench-results.json (under 10 minutes; QUICK=1 under 2).
	$(BIN)/python -m tests.bench

docs: $(STAMP) ## Write the generated pages of docs/reference and .env.example.
	$(BIN)/python scripts/generate_docs.py

lock: $(STAMP) ## Resolve the dependencies again into requirements.lock, which names no host.
	sh scripts/lock.sh

clean: ## Remove the environment, the tools and every cache (never .pulser, the data).
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis .coverage* coverage.xml test-results
