# Ownvoice. `make run` serves it, `make test` tests it; both set up what they need.

PORT ?= 8000
ADDRESS ?= localhost

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
PYTEST := $(PY) -m pytest
# As in production: nothing `check --deploy` could warn about may hide behind DEBUG.
PRODUCTION := OWNVOICE_HTTPS=1 DJANGO_DEBUG=0 DJANGO_ALLOWED_HOSTS=ownvoice.example \
	DJANGO_SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))')

.DEFAULT_GOAL := help
.PHONY: help run test check bench format setup

help:
	@echo "make run      serve the site and its workers on http://$(ADDRESS):$(PORT)"
	@echo "make test     every test, browser and databases too"
	@echo "make check    lint, types, migrations, deployment checks"
	@echo "make bench    how long pages, sound and voices take here"
	@echo "make format   put the code in the house's format"

run: $(VENV)/.requirements
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py collectstatic --noinput --verbosity 0
	@$(PY) manage.py seed
	@exec $(PY) manage.py serve --host $(ADDRESS) --port $(PORT)

# What waits while sound plays runs two at a time, with no work beside it. What measures
# time, and the end-to-end tests, run alone.
test: $(VENV)/.requirements-dev
	@$(PY) -m voiceplatform.testing.programs
	@if [ -z "$$SPEECH_DIR" ] && [ -f ../shared/tools/fetch_speech.sh ]; then \
		bash ../shared/tools/fetch_speech.sh .cache/speech; fi
	@failed=0; \
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist worksteal \
		-m "not e2e and not alone and not realtime" || failed=1; \
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile -m "realtime and not alone" || failed=1; \
	$(PYTEST) -m "e2e or alone" || failed=1; \
	$(PY) -m voiceplatform.testing.postgres \
		$(PYTEST) -n 2 --dist worksteal -m database || failed=1; \
	exit $$failed

check: $(VENV)/.requirements-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(PY) manage.py makemigrations --check --dry-run
	@echo "$(PY) manage.py check --deploy"
	@$(PRODUCTION) $(PY) manage.py check --deploy --fail-level WARNING

bench: $(VENV)/.requirements-dev
	@$(PY) manage.py bench

format: $(VENV)/.requirements-dev
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

setup: $(VENV)/.requirements-dev

$(PY):
	@if [ -z "$(PYTHON)" ]; then \
		echo "Ownvoice needs Python 3.11 and found none: neither python3.11 nor" >&2; \
		echo "python3 is it. Install it (Debian: apt-get install python3.11-venv)" >&2; \
		echo "or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module is missing: apt-get install python3.11-venv" >&2; \
		exit 1; }

$(VENV)/.requirements: requirements.txt requirements-nodeps.txt | $(PY)
	@echo "Installing the requirements: about three minutes the first time."
	@$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@$(PY) -m pip install --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.txt $(VENV)/.requirements
	@$(PY) -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@
