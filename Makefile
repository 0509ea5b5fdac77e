# Magnet: `make run` starts everything, `make test` and `make lint` check it. Only Python 3.11 or newer is needed.

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint format lock schema examples clean

export PYTHON
VENV := .venv
BIN := $(VENV)/bin
# The exhaustive tests start whole platforms and take parts away from them: those run one after the other.
# The others go by file, in the order of pytest.ini: long ones early, so that none is left alone at the end.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: ## Start the platform; prints READY and the address
	@sh .ci/environment requirements.lock
	@exec $(BIN)/python -X utf8 -m magnet.supervisor --with-parent

test: ## Run the test suite
	@sh .ci/environment requirements-dev.lock
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-all: ## The same, with Chromium, Debian's Redis, and the walks, outages and fuzzing that take minutes
	@sh .ci/environment requirements-dev.lock
	MAGNET_ALL_TESTS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not exhaustive" $(ARGS)
	MAGNET_ALL_TESTS=1 $(BIN)/python -m pytest -m exhaustive $(ARGS)

lint: ## Style, types, layers, migrations, OpenAPI snapshot
	@sh .ci/environment requirements-dev.lock
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file $(VENV)/openapi.yaml
	@diff -u docs/openapi.yaml $(VENV)/openapi.yaml || { echo "The API differs from docs/openapi.yaml: run 'make schema' and look at the difference."; exit 1; }

format: ## Format the code
	@sh .ci/environment requirements-dev.lock
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: ## Write the OpenAPI snapshot
	@sh .ci/environment requirements-dev.lock
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

examples: ## Play the API's examples against a web process, and record its answers
	@sh .ci/environment requirements-dev.lock
	MAGNET_RECORD_EXAMPLES=1 $(BIN)/python -m pytest magnet/tests/test_examples.py -k answered
	$(MAKE) --no-print-directory schema

lock: ## Resolve requirements*.txt into the lock files
	rm -rf $(VENV)-lock
	"$$(sh .ci/environment --python)" -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --no-emit-index-url --generate-hashes --no-header requirements.txt --output-file requirements.lock
	$(VENV)-lock/bin/uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --no-emit-index-url --generate-hashes --no-header --constraint requirements.lock requirements-dev.txt --output-file requirements-dev.lock
	rm -rf $(VENV)-lock

clean: ## Remove the environment and caches, never the data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
