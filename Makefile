# `make demo` and `make test` are all anyone needs. Both set up .venv first, which is quick when nothing has changed.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
AGAIN = $(MAKE) --no-print-directory# under its own name, make -n would run the tests: they stand on one line with it

.PHONY: help setup demo test lint audit

help:
	@echo "make demo    animate the sample catalogue into out/demo"
	@echo "make test    check style and types, then run the tests"
	@echo "make lint    check style with Ruff and types with mypy"
	@echo "make audit   look for known faults of the pinned packages with pip-audit; needs the index's own advisories"
	@echo "make setup   only make .venv; PYTHON=python3.12 chooses the Python it is made with"

demo: setup
	@$(VENV)/bin/python -m pipelines.demo out/demo

# In two processes, of which one has the session's Ray cluster.
AT_ONCE := --numprocesses=2 --dist=loadgroup

# The tests run and have the last word even where style or types are not as they should be; either fails the command.
test: setup
	@$(AGAIN) lint || { failed=1; echo "test: make lint failed, see above; the tests follow" >&2; }; \
	  echo "$(VENV)/bin/python -m pytest $(AT_ONCE)"; $(VENV)/bin/python -m pytest $(AT_ONCE) && test -z "$$failed"

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m tests.type_check

setup: $(READY)

# --strict: a package that an index without advisories knows nothing of is an error, not a clean bill.
audit: setup
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/bin/python -m pip_audit --strict --requirement constraints.txt --no-deps --disable-pip

RECENT := import sys; sys.exit(sys.version_info < (3, 11))
HAS_VENV := import ensurepip, venv

# A .venv whose Python is gone or too old, or that was left half made, is made anew; any other is brought up to date.
$(READY): pyproject.toml constraints.txt
	@$(VENV)/bin/python -c '$(RECENT)' 2>/dev/null && $(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON) -c '$(RECENT)' 2>/dev/null || { \
	    it=$$($(PYTHON) -c 'import sys; print("is %d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || it="does not run"; \
	    echo "setup: Catwalk needs Python 3.11 or newer, but '$(PYTHON)' $$it: install one, or name one (make PYTHON=...)" >&2; \
	    exit 1; }; \
	  $(PYTHON) -c '$(HAS_VENV)' 2>/dev/null || { \
	    echo "setup: '$(PYTHON)' lacks its venv module: install it (Debian, Ubuntu: python3-venv), or name another Python" >&2; \
	    exit 1; }; \
	  $(PYTHON) -m venv --clear $(VENV); }
	@echo "setup: installing into $(VENV); the first time, torch is a large download" >&2
	@$(VENV)/bin/python -m pip show --quiet decord2 2>/dev/null || \
	  $(VENV)/bin/python -m pip uninstall --quiet --yes decord 2>/dev/null || true  # whose files decord2 brings
	@quiet=; test -t 1 || quiet=--quiet; \
	  $(VENV)/bin/python -m pip install $$quiet --disable-pip-version-check -c constraints.txt -e '.[dev,people]'
	@$(VENV)/bin/python -m pipelines.fetch_people
	@touch $@
