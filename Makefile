# The workshop. Each target sets up what it needs: see .ci/bootstrap.

.PHONY: help serve test browser tus faults torture lint bench format clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 17

serve: ## run the server; flags go in ARGS="--port 8080"
	@exec .ci/serve $(ARGS)

# A part of the tests says little about coverage, so ARGS="-k name" leaves it out.
test: ## run the tests and check coverage, or some tests: ARGS="-k name"
	@.ci/bootstrap test
	@.venv/bin/python -m pytest $(or $(ARGS),--cov)

browser: ## try the page in Chromium, or some of it: ARGS="-k name"
	@.ci/bootstrap browser
	@.venv/bin/python -m pytest tests/browser $(ARGS)

tus: ## let other people's tus clients upload, or some of them: ARGS="-k tuspy"
	@.ci/bootstrap tus
	@.venv/bin/python -m pytest tests/tus $(ARGS)

faults: ## attack a real memcached, and the code on it (about 4 minutes): ARGS="-k name"
	@.ci/bootstrap faults
	@.venv/bin/python -m pytest tests/faults $(ARGS)

torture: ## the same for long (an hour or so)
	@MEMCHUNK_TORTURE=1 $(MAKE) --no-print-directory faults

lint: ## check style, format and types
	@.ci/bootstrap test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

bench: ## compare with peers, as in docs/performance.md (about 15 minutes)
	@.ci/bootstrap bench
	@for each in speed small http imports images retention; do .venv/bin/python -m benchmarks.$$each || exit; done

format: ## put the code in order
	@.ci/bootstrap test
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean: ## remove .venv and all that tools left behind
	@rm -rf .venv tests/tus/node_modules .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	@find memchunk memchunk_api tests -name __pycache__ -type d -prune -exec rm -rf {} +
