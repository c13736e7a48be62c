# Each target does all of its own set-up: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test test-long lint docs studies checks benchmark dist clean

demo: .venv/installed
	$(BIN)/teacher-student compare -o comparison

test: .venv/installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal

test-long: .venv/installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal -m long

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed-dev
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

studies: .venv/installed-test
	mkdir -p docs/_build/studies
	cd docs/_build/studies && for script in "$(CURDIR)"/odes/*.py "$(CURDIR)"/simulations/*.py; do \
		"$(CURDIR)/$(BIN)/python" "$$script" || exit 1; done

checks: .venv/installed-test
	rm -f docs/_build/checks.jsonl && mkdir -p docs/_build
	$(BIN)/python -m pytest -n auto --dist worksteal --checks docs/_build/checks.jsonl
	$(BIN)/python docs/checks.py docs/_build/checks.jsonl

# Source distribution and wheel in dist/, tried in environments of their own on every Python at hand.
dist: .venv/installed-dev
	.ci/dist $(CURDIR)/$(BIN)/python

benchmark: .venv/installed-test
	$(BIN)/python benchmarks/page.py

.venv/python:
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/python setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

.venv/installed-dev: .venv/installed-test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,dev,docs]'
	touch $@

clean:
	rm -rf .venv dist docs/_build docs/_studies docs/studies comparison
