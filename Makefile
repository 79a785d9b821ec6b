# Reelmesh: every recipe stays short; the work is in the named Python modules.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.lock-installed
BENCH   := $(VENV)/bench
PYTEST  := $(BIN)/python -m pytest
SPINS   ?= 200
PLAYERS ?= 8
KEEP_MONTHS ?= 13
TARGET  ?= 127.0.0.1:7102
export PYTHONPATH := .:gen
# Before a command: the wallet's database, of the environment or else of `make run` here.
WALLET_URL = url="$${REELMESH_WALLET_DATABASE_URL:-$$($(BIN)/python -m deploy.local database-url wallet)}" && \
	REELMESH_WALLET_DATABASE_URL="$$url"

# One line where $(PYTHON) is none: it is asked to print something.
NEEDS_PYTHON = [ "$$($(PYTHON) -c 'print(1)' 2>/dev/null)" = 1 ] || \
	{ echo "setup: $(PYTHON) is no Python that starts: install Python >= 3.11, or make PYTHON=..."; exit 1; }

$(STAMP): lock/dev.txt deploy/local/bootstrap.py
	@$(NEEDS_PYTHON)
	@$(PYTHON) deploy/local/bootstrap.py $(VENV) lock/dev.txt
	@touch $(STAMP)

# The textbook mesh's own instrumentation and the profiler: beside the environment, not in it.
$(BENCH)/.lock-installed: lock/bench.txt $(STAMP)
	@echo "bench: installing $(BENCH)"
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps --upgrade --target $(BENCH) -r $<
	@touch $@

.PHONY: help setup run play bench bench-wallet profile test test-unit test-integration test-model test-fault test-long
.PHONY: review stuck retention audit-ledger statement-csv day-csv check lint types proto proto-check wheel audit tools fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## create the virtual environment from the lock file

run: $(STAMP) ## start PostgreSQL and the five services here, until Ctrl-C
	@exec $(BIN)/python -m deploy.local run

# Before anything is installed: without a mesh there is nothing to play against.
.reelmesh/api_key:
	@echo "play: no API key found: start the mesh with \`make run\` first"; exit 1

play: .reelmesh/api_key $(STAMP) ## play against the running mesh: SPINS=200 PLAYERS=8
	@$(BIN)/python -m deploy.local play --spins "$(SPINS)" --players "$(PLAYERS)"

# By the environment, so that any character may stand in a reason.
review: $(STAMP) ## list rounds in NEEDS_REVIEW of the running mesh; ROUND= VERDICT=settled|reversed|void ACTOR= REASON=
	@$(BIN)/python -m deploy.local review --round-id "$$ROUND" --verdict "$$VERDICT" --actor "$$ACTOR" --reason "$$REASON"
stuck: $(STAMP) ## unanswered calls to an operator's own wallet: OPERATOR=dev CALL=round/step ACTION=force|stop ACTOR= REASON=
	@$(BIN)/python -m deploy.local stuck --operator "$(or $(OPERATOR),dev)" \
		--call "$$CALL" --action "$$ACTION" --actor "$$ACTOR" --reason "$$REASON"

test: $(STAMP) ## every test but the long forms
	$(PYTEST) -m "not long"

test-unit: $(STAMP) ## tests without database and processes
	$(PYTEST) tests/unit -m "not long"

test-integration: $(STAMP) ## tests on a real PostgreSQL and real processes
	$(PYTEST) tests/integration -m "not long"

test-model: $(STAMP) ## every interleaving of the round protocol
	$(PYTEST) tests/model -m "not long"

test-fault: $(STAMP) ## kill -9 at the failpoints, PostgreSQL stopped under load
	$(PYTEST) tests/fault -m "not long"

test-long: $(STAMP) ## the long forms
	$(PYTEST) -m long

statement-csv: $(STAMP) ## a player's statement as CSV: ACCOUNT=6 OPERATOR=dev START= END= OUTPUT= (docs/books.md)
	@$(WALLET_URL) $(BIN)/python -m services.wallet.export statement --operator "$(or $(OPERATOR),dev)" \
		--account "$(ACCOUNT)" --start "$(START)" --end "$(END)" $(if $(OUTPUT),--output "$(OUTPUT)")

day-csv: $(STAMP) ## an operator's day as CSV, with its checksum: DAY=2026-11-30 OPERATOR=dev OUTPUT=
	@$(WALLET_URL) $(BIN)/python -m services.wallet.export day --operator "$(or $(OPERATOR),dev)" --day "$(DAY)" \
		$(if $(OUTPUT),--output "$(OUTPUT)")

bench: $(BENCH)/.lock-installed ## CPU per spin against a textbook mesh, latency, floors; QUICK=1 for a short run
	@exec $(BIN)/python -m bench.run $(if $(QUICK),--quick)

bench-wallet: $(STAMP) ## CPU and rate of a settlement, alone and through the wallet: QUICK=1, ROUNDS=1000000
	@exec $(BIN)/python -m bench.ledger $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds "$(ROUNDS)")

profile: $(BENCH)/.lock-installed ## a flame graph per service under load, into build/profile
	@exec $(BIN)/python -m bench.profile

check: lint types proto-check ## what CI runs before the tests; needs npm for buf

lint: $(STAMP) ## ruff, import contracts, buf
	$(BIN)/ruff check && $(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/buf.py lint

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

proto: $(STAMP) ## generate gen/ from protos/
	$(BIN)/python tools/stubs.py generate

proto-check: $(STAMP) ## gen/ is what protos/ generates
	$(BIN)/python tools/stubs.py check

wheel: $(STAMP) ## the typed client as a wheel, reelmesh-stubs, into build/
	@$(BIN)/python tools/wheel.py

.PHONY: conformance
# The keys are those of `make run`; without them the options or the environment name others.
conformance: $(STAMP) ## every conformance case against the wallet at TARGET=host:port; OPTIONS=--help
	@PYTHONPATH=.:gen:stubs $(BIN)/python -m reelmesh.conformance "$(TARGET)" \
		$(addprefix --keys-file ,$(wildcard .reelmesh/keys.json)) $(OPTIONS)
# OPTIONS="--json", or OPTIONS="--resume --actor=NAME --reason='TEXT'" once the books are right again.
audit-ledger: $(STAMP) ## the wallet's whole books, of `make run` or of REELMESH_WALLET_DATABASE_URL
	@$(WALLET_URL) $(BIN)/python -m services.wallet.audit $(OPTIONS)

audit: $(STAMP) ## known vulnerabilities of the locked packages, where their database can be reached
	@$(BIN)/python tools/audit.py lock/dev.txt

tools: ## programs beyond Python that checks and tests use, and which are here
	@$(NEEDS_PYTHON)
	@$(PYTHON) tools/programs.py

fmt: $(STAMP) ## format the code
	$(BIN)/ruff check --fix && $(BIN)/ruff format

retention: $(STAMP) ## the wallet's months; archives old ones into DIRECTORY=... all but KEEP_MONTHS=13
	@$(WALLET_URL) $(BIN)/python -m services.wallet.retention \
		$(if $(DIRECTORY),archive "$(DIRECTORY)" --keep-months "$(KEEP_MONTHS)",list)

clean: ## remove build output and caches; keeps the environment and the data of make run
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
