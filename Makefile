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
# Before a command: the wallet's or the events service's database, of the environment or else of `make run` here.
WALLET_URL = url="$${REELMESH_WALLET_DATABASE_URL:-$$($(BIN)/python -m deploy.local database-url wallet)}" && \
	REELMESH_WALLET_DATABASE_URL="$$url"
EVENTS_URL = url="$${REELMESH_EVENTS_DATABASE_URL:-$$($(BIN)/python -m deploy.local database-url events)}" && \
	REELMESH_EVENTS_DATABASE_URL="$$url"
KEEP_DAYS ?= 90

GAME_URL = url="$${REELMESH_GAME_DATABASE_URL:-$$($(BIN)/python -m deploy.local database-url game)}" && \
	REELMESH_GAME_DATABASE_URL="$$url"

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

.PHONY: help setup run play bench bench-wallet profile test test-again test-unit test-integration test-model test-fault test-long
.PHONY: explain reconcile psql review stuck retention replay rtp-report audit-ledger statement-csv day-csv day-totals reference-wallet export-books
.PHONY: check-books check lint types proto proto-check wheel audit tools fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## create the virtual environment from the lock file

run: $(STAMP) ## start PostgreSQL and the five services here, until Ctrl-C; TLS=1 all of it over TLS (docs/tls.md)
	@exec $(BIN)/python -m deploy.local run $(if $(filter-out 0,$(TLS)),--tls)

# Before anything is installed: without a mesh there is nothing to play against.
.reelmesh/api_key:
	@echo "play: no API key found: start the mesh with \`make run\` first"; exit 2

play: .reelmesh/api_key $(STAMP) ## play against the running mesh: SPINS=200 PLAYERS=8 GAME=any
	@$(BIN)/python -m deploy.local play --spins "$(SPINS)" --players "$(PLAYERS)" --game "$(GAME)"

# REELMESH_TRACES_URL names another trace receiver. Exit code 1: it does not add up; 2: no such round, nobody answers.
# Make prints that code, and itself ends with 2 for either.
explain: $(STAMP) ## a round on one page, and whether it adds up: ROUND=, REPLAY=1 derives it again, JSON=file, OPTIONS=--as-json
	@$(BIN)/python -m deploy.local explain --round-id "$$ROUND" --replay "$(REPLAY)" --json-path "$(JSON)" $(OPTIONS)
# Of `make run` here, or of the databases and the game that the environment names (docs/explain.md).
reconcile: $(STAMP) ## wallet, rounds and events against each other, each difference a review: START= END= JSON=file OPTIONS=
	@$(BIN)/python -m deploy.local reconcile --start "$(START)" --end "$(END)" --json "$(JSON)" $(OPTIONS)
psql: $(STAMP) ## a service's database in psql, read only: SERVICE=gateway|session|wallet|game|events
	@exec $(BIN)/python -m deploy.local psql --service "$(SERVICE)"
# By the environment, so that any character may stand in a reason. Exit code of these two and of webhooks, which make
# prints: 1 when it is refused, 2 when nobody answers.
review: $(STAMP) ## list rounds in NEEDS_REVIEW of the running mesh; ROUND= VERDICT=settled|reversed|void ACTOR= REASON=
	@$(BIN)/python -m deploy.local review --round-id "$$ROUND" --verdict "$$VERDICT" --actor "$$ACTOR" --reason "$$REASON"
stuck: $(STAMP) ## unanswered calls to an operator's own wallet: OPERATOR=dev CALL=round/step ACTION=force|stop|settle ACTOR= REASON=
	@$(BIN)/python -m deploy.local stuck --operator "$(or $(OPERATOR),dev)" \
		--call "$$CALL" --action "$$ACTION" --actor "$$ACTOR" --reason "$$REASON"

# In two processes: each has a PostgreSQL of its own, and the machine more than one core.
HALVES := build/test-first build/test-second
SECOND_HALF := $(addprefix tests/integration/,mesh gateway events wheel wallet)
test: $(STAMP) ## every test but the long forms
	@rm -rf $(HALVES); mkdir -p build; \
	$(PYTEST) -m "not long" -o cache_dir=$(word 2,$(HALVES)) $(SECOND_HALF) > build/test-second-half.log 2>&1 & second=$$!; \
	$(PYTEST) -m "not long" -o cache_dir=$(word 1,$(HALVES)) $(addprefix --ignore=,$(SECOND_HALF)); first=$$?; \
	wait $$second; status=$$?; cat build/test-second-half.log; exit $$((first | status))

# For CI, after `make test` failed: a test that fails once and passes three times alone is named, and holds nothing back.
test-again: $(STAMP)
	@$(BIN)/python tools/again.py $(HALVES)

test-unit: $(STAMP) ## tests without database and processes
	$(PYTEST) tests/unit -m "not long"

test-integration: $(STAMP) ## tests on a real PostgreSQL and real processes
	$(PYTEST) tests/integration -m "not long"

test-model: $(STAMP) ## every interleaving of the round protocol
	$(PYTEST) tests/model -m "not long"

test-fault: $(STAMP) ## kill -9 at the failpoints, PostgreSQL stopped under load
	$(PYTEST) tests/fault -m "not long"

.PHONY: rollout-test
rollout-test: $(STAMP) ## each service rolled, scaled and upgraded under load: no failed spin (docs/kubernetes/rollout-proof.md)
	$(PYTEST) -q -s tests/rollout

test-long: $(STAMP) ## the long forms
	$(PYTEST) -m long

statement-csv: $(STAMP) ## a player's statement as CSV: PLAYER=ada CURRENCY=EUR, or ACCOUNT=6; OPERATOR=dev START= END= OUTPUT=
	@$(WALLET_URL) $(BIN)/python -m services.wallet.reads.export statement --operator "$(or $(OPERATOR),dev)" \
		--account "$(ACCOUNT)" --player "$(PLAYER)" --currency "$(CURRENCY)" --start "$(START)" --end "$(END)" $(if $(OUTPUT),--output "$(OUTPUT)")

day-csv: $(STAMP) ## an operator's day as CSV, with its checksum: DAY=2026-11-30 OPERATOR=dev OUTPUT=
	@$(WALLET_URL) $(BIN)/python -m services.wallet.reads.export day --operator "$(or $(OPERATOR),dev)" --day "$(DAY)" \
		$(if $(OUTPUT),--output "$(OUTPUT)")

day-totals: $(STAMP) ## an operator's day in sums per currency, as CSV: DAY=2026-11-30 OPERATOR=dev OUTPUT=
	@$(WALLET_URL) $(BIN)/python -m services.wallet.reads.export totals --operator "$(or $(OPERATOR),dev)" --day "$(DAY)" \
		$(if $(OUTPUT),--output "$(OUTPUT)")

# Its certificate and its token, once, and the file that names it to the wallet (docs/external_wallet.md).
.reelmesh/own/wallets.yaml:
	@mkdir -p $(@D) && chmod 700 $(@D)
	@openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout $(@D)/key.pem -out $(@D)/cert.pem 2>/dev/null
	@openssl rand -hex 16 > $(@D)/token
	@printf -- '- {operator_id: dev, target: "127.0.0.1:9443", ca_file: %s/cert.pem, token_file: %s/token}\n' \
		"$(CURDIR)/$(@D)" "$(CURDIR)/$(@D)" > $@

# Without a database to serve from it only says how to start one.
reference-wallet: .reelmesh/own/wallets.yaml $(STAMP) ## an operator's own wallet, beside `make run`: OWN_PLAYERS="ann:EUR:100000" OPTIONS="--faults 7"
	@echo "start the mesh with: REELMESH_WALLET_EXTERNAL_WALLETS_PATH=$(CURDIR)/$< make run"
	@url="$${REFERENCE_WALLET_DATABASE_URL:-$$($(BIN)/python -m deploy.local reference-database-url)}" && \
		REFERENCE_WALLET_DATABASE_URL="$$url" exec $(BIN)/python -m deploy.reference_wallet --key $(<D)/key.pem \
		--cert $(<D)/cert.pem --token-file $(<D)/token $(addprefix --player ,$(or $(OWN_PLAYERS),ann:EUR:100000)) $(OPTIONS)

export-books: $(STAMP) ## a game as published outcome tables: GAME=double-dawn OUTPUT=folder MODE= BOOKS=100000 SEED=1
	@[ -n "$(OUTPUT)" ] || { echo "export-books: into which folder? OUTPUT=..."; exit 2; }
	@$(BIN)/python -m services.game.books.export --game "$(GAME)" --output "$(OUTPUT)" \
		$(if $(MODE),--mode "$(MODE)") $(if $(BOOKS),--books "$(BOOKS)") $(if $(SEED),--seed "$(SEED)")

check-books: $(STAMP) ## check a folder of published outcome tables, and compile it ahead of the start: FOLDER=
	@[ -n "$(FOLDER)" ] || { echo "check-books: which folder? FOLDER=..."; exit 2; }
	@$(BIN)/python -m services.game.books.check "$(FOLDER)"

bench: $(BENCH)/.lock-installed ## CPU per spin against a textbook mesh, latency, floors; QUICK=1 for a short run
	@exec $(BIN)/python -m bench.run $(if $(QUICK),--quick)

bench-wallet: $(STAMP) ## CPU and rate of a settlement, alone and through the wallet: QUICK=1, ROUNDS=1000000
	@exec $(BIN)/python -m bench.ledger $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds "$(ROUNDS)")

.PHONY: bench-mtls
bench-mtls: $(STAMP) ## CPU per spin with mutual TLS between services and without, alternating: QUICK=1 for a short run
	@exec $(BIN)/python -m bench.mtls $(if $(QUICK),--quick)

.PHONY: bench-telemetry
bench-telemetry: $(BENCH)/.lock-installed ## CPU that tracing adds to a call, ours and contrib's; QUICK=1 for a short run
	@exec $(BIN)/python -m bench.telemetry $(if $(QUICK),--quick)

profile: $(BENCH)/.lock-installed ## a flame graph per service under load, into build/profile
	@exec $(BIN)/python -m bench.profile

.PHONY: rtp
rtp: $(STAMP) ## exact return of a game, its split, hit frequency, distribution: GAME=harbour-lights MODE= JSON= (docs/maths.md)
	@exec $(BIN)/python -m services.game.maths.rtp "$(GAME)" $(if $(MODE),--mode "$(MODE)") $(if $(JSON),--json "$(JSON)")

.PHONY: par-sheet
par-sheet: $(STAMP) ## the PAR sheet of a game on one page, default all shipped ones: GAME=harbour-lights OUTPUT=docs/par
	@exec $(BIN)/python -m services.game.maths.sheet $(if $(GAME),--game "$(GAME)") $(if $(OUTPUT),--output "$(OUTPUT)")

.PHONY: simulate
simulate: $(STAMP) ## play a game: GAME=harbour-lights MODE= SPINS= SEED= PROCESSES=2 PRECISION= PNG= JSON= (docs/simulation.md)
	@exec $(BIN)/python -m services.game.maths.simulate "$(or $(GAME),harbour-lights)" --processes $(or $(PROCESSES),2) \
		$(if $(filter file,$(origin SPINS)),,--spins $(SPINS)) $(if $(MODE),--mode "$(MODE)") $(if $(SEED),--seed $(SEED)) \
		$(if $(PRECISION),--precision $(PRECISION)) $(if $(PNG),--png "$(PNG)") $(if $(JSON),--json "$(JSON)")

.PHONY: bench-maths
bench-maths: $(STAMP) ## simulated spins per CPU-second, beside floors of the same run: QUICK=1 for a short run
	@exec $(BIN)/python -m bench.maths $(if $(QUICK),--quick)

check: lint types proto-check ## what CI runs before the tests; needs npm for buf

lint: $(STAMP) ## ruff, import contracts, buf
	$(BIN)/ruff check && $(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/buf.py lint
	$(BIN)/python tools/telemetry_contract.py check

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

proto: $(STAMP) ## generate gen/ and the OpenAPI document from protos/, unless they break what is published; needs npm
	$(BIN)/python tools/published.py write
	$(BIN)/python tools/stubs.py generate
	$(BIN)/python -m tools.openapi write

.PHONY: telemetry
telemetry: $(STAMP) ## generate constants and docs/telemetry.md from services/telemetry.yaml
	$(BIN)/python tools/telemetry_contract.py

proto-check: $(STAMP) ## protos/ break nothing that is published; gen/ and the OpenAPI document are what they generate
	$(BIN)/python tools/published.py check
	$(BIN)/python tools/stubs.py check
	$(BIN)/python -m tools.openapi check

wheel: $(STAMP) ## the typed client as a wheel, reelmesh-stubs, into build/
	@$(BIN)/python tools/wheel.py

.PHONY: conformance
# The keys are those of `make run`; without them the options or the environment name others.
conformance: $(STAMP) ## every conformance case against the wallet at TARGET=host:port; OPTIONS=--help
	@PYTHONPATH=.:gen:stubs $(BIN)/python -m reelmesh.conformance "$(TARGET)" \
		$(addprefix --keys-file ,$(wildcard .reelmesh/keys.json)) \
		$(addprefix --mtls ,$(wildcard .reelmesh/tls)) $(OPTIONS)
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

rtp-report: $(STAMP) ## what games returned against theory, a day and the 30 days before it: DAY=2026-11-30, JSON=file
	@$(GAME_URL) $(BIN)/python -m services.game.rtp.report --day "$(DAY)" $(if $(JSON),--json "$(JSON)")

# JSON= writes the report there; DRAW_HASH= compares the hash that a span carries.
replay: $(STAMP) ## a stored round derived again from its draw log and compared: ROUND=, JSON=file, DRAW_HASH=
	@$(GAME_URL) $(BIN)/python -m services.game.replay "$$ROUND" $(if $(JSON),--json "$(JSON)") \
		$(addprefix --keys-file ,$(wildcard .reelmesh/keys.json)) $(if $(DRAW_HASH),--draw-hash "$(DRAW_HASH)")

retention: $(STAMP) ## the wallet's months; archives old ones into DIRECTORY=... all but KEEP_MONTHS=13
	@$(WALLET_URL) $(BIN)/python -m services.wallet.months.retention \
		$(if $(DIRECTORY),archive "$(DIRECTORY)" --keep-months "$(KEEP_MONTHS)",list)

.PHONY: alerts dashboards
alerts: ## Prometheus rules: check them, and that each alert fires on its fault only (docs/alerts.md)
	@command -v promtool >/dev/null || { echo "alerts: needs promtool, of Debian's package prometheus: \
	apt-get install --no-install-recommends prometheus"; exit 1; }
	@promtool check rules deploy/observability/rules/*.yaml && promtool test rules deploy/observability/rules/tests/*.yaml

dashboards: $(STAMP) ## generate dashboards/ from dashboards.yaml, and PrometheusRules for deploy/k8s from rules/
	@$(BIN)/python tools/dashboards.py && $(BIN)/python tools/prometheus_rules.py

.PHONY: webhooks verify-events export-events retention-events bench-outage
# The secret by the environment only: the process list shows arguments.
webhooks: $(STAMP) ## an operator's webhooks: OPERATOR=dev WEBHOOK= ACTION=pause|resume|dead|redeliver|delete|create URL= TYPES= SECRET=
	@SECRET="$$SECRET" $(BIN)/python -m deploy.local webhooks --operator "$(or $(OPERATOR),dev)" \
		--webhook "$(WEBHOOK)" --action "$(ACTION)" --url "$(URL)" --types "$(TYPES)"

.PHONY: operators
operators: $(STAMP) ## operators, API keys, origins of the running mesh: DO="list", "key dev back-office --scopes wallet.read" ...
	@$(BIN)/python -m deploy.local operators $(or $(DO),list)

verify-events: $(STAMP) ## the first event altered, missing or out of order: SOURCE= START=2026-11-30 END= OPTIONS=--json
	@$(EVENTS_URL) $(BIN)/python -m services.events.verify $(if $(SOURCE),--source "$(SOURCE)") \
		--start "$(START)" --end "$(END)" $(OPTIONS)

export-events: $(STAMP) ## a day's events as Parquet: DAY=2026-11-30 OUTPUT=day.parquet, DIRECTORY= of an archived day
	@$(EVENTS_URL) $(BIN)/python -m services.events.days.export --day "$(DAY)" --output "$(OUTPUT)" \
		$(if $(DIRECTORY),--directory "$(DIRECTORY)")

retention-events: $(STAMP) ## the days of the log; archives old ones into DIRECTORY=... all but KEEP_DAYS=90
	@$(EVENTS_URL) $(BIN)/python -m services.events.days.retention \
		$(if $(DIRECTORY),archive "$(DIRECTORY)" --keep-days "$(KEEP_DAYS)",list)

bench-outage: $(STAMP) ## the events service away until EVENTS=20000 wait, then how fast they are stored while spins go on
	@exec $(BIN)/python -m bench.outage --events "$(or $(EVENTS),20000)"

clean: ## remove build output and caches; keeps the environment and the data of make run
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
