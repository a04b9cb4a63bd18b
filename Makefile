# The verbs of this project; `make` lists them. Everything runs in .venv, which is made on first use.
.DEFAULT_GOAL := help
.PHONY: help venv run function env pin test check check-page fmt lock schema nginx cloud roles deploy call provision import switch backup restore explain doctor replay admin revoke rotate-keys rotate-token seek outage bench stages chaos fuzz mutants siege autoscaling spool screenshots clean

PY := .venv/bin/python
RUN_DIR ?= .local
ENTERPRISE ?= 0367
SPEED ?= 1
# Most tests wait more than they compute, so more of them at once than there are cores.
WORKERS ?= 3
# `pip-compile` must not write this machine's package sources into the result.
COMPILE := $(PY) -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## make the virtual environment, if it is missing or out of date
	@infra/stand_ins/bootstrap.sh

run: venv ## start everything, play a call, stay up until Ctrl-C (PORT=8080 RUN_DIR=.local RESTART=1)
	@$(PY) -m infra.stand_ins.run

function: venv ## run one function alone, beside the running stack (NAME=make-call PORT=9090); without NAME: which there are
	@$(PY) -m infra.stand_ins.function $(NAME) --port "$(or $(PORT),9090)" --run-dir "$(RUN_DIR)"

env: ## write .env, the secrets of docker-compose.yml; what stands in it stays (DEMO=1: the demo's simulator may be asked; DOMAIN=…: with TLS)
	@python3 -m infra.commands.env $(if $(filter 1 yes,$(DEMO)),--demo) $(if $(DOMAIN),--domain "$(DOMAIN)")

pin: ## write the digests of the base images into .env; again: the newer ones of the same tags (EMBEDDED=1: not the emulator's)
	@python3 -m infra.commands.pin $(if $(filter 1 yes,$(EMBEDDED)),--embedded)

test: venv ## run the tests (ARGS="tests/unit -k popup", WORKERS=3; 0: one after another)
	@$(PY) -m pytest -n $(WORKERS) --dist loadscope $(ARGS)

check: venv check-page ## formatting, lint, types, direction of imports; of the page too, where there is Node
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy lib infra tests
	@for main in functions/*/main.py; do $(PY) -m mypy "$$main" || exit 1; done
	@.venv/bin/lint-imports

check-page: ## formatting, lint and types of the page alone
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory node_modules; then npm run --silent check; \
	else echo "The page's formatting, lint and types are not checked: npm is not here, or gets no packages" >&2; fi

# Only what checks the page: the page itself is served as it is.
node_modules: package-lock.json
	@npm ci --silent --no-audit --no-fund && touch node_modules

fmt: venv ## format, and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory node_modules && npm run --silent format; fi

lock: venv ## compile the .in files to requirements with versions and hashes
	@$(COMPILE) --output-file requirements.txt requirements.in
	@$(COMPILE) --output-file requirements-dev.txt requirements-dev.in
	@$(COMPILE) --output-file tests/contract/retailcrm-client-requirements.txt tests/contract/retailcrm-client-requirements.in
	@$(COMPILE) --output-file infra/stand_ins/requirements.txt infra/stand_ins/requirements.in
	@$(COMPILE) --output-file tests/measure/bench/peers/requirements.txt tests/measure/bench/peers/requirements.in

schema: venv ## write infra/schema.sql, the sum of the migrations
	@$(PY) -m infra.stand_ins.schema

cloud: venv ## write infra/cloud/rendered.json, what Terraform has to know of functions, routes and topics
	@$(PY) -m infra.deployment.cloud.render

nginx: venv ## write infra/deployment/nginx/nginx.conf, the containers' gateway, from the routes of the local one
	@$(PY) -m infra.deployment.nginx.render

roles: venv ## make the roles of a database, one for each function (DATABASE_ADMIN_URL and passwords set; REVOKE=1 takes old rights)
	@$(PY) -m infra.deployment.roles $(if $(filter 1 yes,$(REVOKE)),--revoke)

deploy: venv ## to Google Cloud, asks before each change (PROJECT=my-project DOMAIN=telephony.example.com VARS=mine.tfvars YES=1 DRY=1)
	@test -n "$(PROJECT)" || { echo "Which project? make deploy PROJECT=my-project DOMAIN=telephony.example.com" >&2; exit 2; }
	@$(PY) -m infra.commands.deploy --project="$(PROJECT)" --region="$(REGION)" --domain="$(DOMAIN)" \
	    $(if $(VARS),--variables="$(VARS)") $(if $(filter 1 yes,$(YES)),--yes) $(if $(DRY),--dry-run)

call: venv ## play a scenario against the running stack (SCENARIO=2-1-doc ENTERPRISE=0367 SPEED=1), or list them
	@$(PY) -m infra.stand_ins.call --run-dir "$(RUN_DIR)" --enterprise "$(ENTERPRISE)" --speed "$(SPEED)" $(SCENARIO)

provision: venv ## add or change an enterprise (FILE=enterprise.json)
	@test -n "$(FILE)" || { echo "Which file? make provision FILE=enterprise.json" >&2; exit 2; }
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.provision "$(FILE)"

backup: ## write a dump of the composition's database (TO=backups KEEP=14; HERE=1: of the server that PGHOST names)
	@python3 -m infra.commands.backup --to "$(or $(TO),backups)" --keep "$(or $(KEEP),0)" $(if $(filter 1 yes,$(HERE)),--here)

restore: ## put a dump in the place of the database, which is kept under another name (FILE=… YES=1; HERE=1)
	@test -n "$(FILE)" || { echo "Which dump? make restore FILE=backups/gateway-….dump" >&2; exit 2; }
	@python3 -m infra.commands.restore "$(FILE)" $(if $(filter 1 yes,$(YES)),--yes) $(if $(filter 1 yes,$(HERE)),--here)

import: venv ## bring the enterprises of the old system here (FROM=<dsn> DRY=1 ONLY=0367,0411 OVERWRITE=1 ASTERISK_URL= REGION= TIMEZONE= BY=)
	@test -n "$$FROM" || { echo "From where? make import FROM=postgresql://reader:password@host:5432/name DRY=1" >&2; exit 2; }
	@OLD_DATABASE_URL="$$FROM" RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.moving $(if $(filter 1 yes,$(DRY)),--dry) \
	    --only="$$ONLY" $(if $(filter 1 yes,$(OVERWRITE)),--overwrite) --asterisk-url="$$ASTERISK_URL" --region="$$REGION" \
	    --timezone="$$TIMEZONE" --by="$$BY"

switch: venv ## have RetailCRM told of the calls of enterprises from here, or not (ENTERPRISES=0367,0411 TO=on|off)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.switch --enterprises="$$ENTERPRISES" --to="$$TO" --by="$$BY"

explain: venv ## why a call became what it became (CALL=1758798777.27 ENTERPRISE=0367); without CALL: what led to nothing (SINCE=1h)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.explain --enterprise "$(ENTERPRISE)" \
	    --since="$(or $(SINCE),1h)" $(if $(CALL),"$(CALL)")

doctor: venv ## what the hosts of an enterprise do that costs calls, and what to change there (ENTERPRISE=0367 SINCE=1d)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.doctor --enterprise "$(ENTERPRISE)" --since="$(or $(SINCE),1d)"

seek: venv ## after a failover: have the events of the last minutes delivered again (MINUTES=10 DRY=1)
	@test -n "$(MINUTES)" || { echo "How far back? make seek MINUTES=10" >&2; exit 2; }
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.seek --minutes "$(MINUTES)" $(if $(DRY),--dry-run)

outage: venv ## one enterprise's CRM is away for MINUTES=3, the others' are not: who notices, what is lost
	@$(PY) -m tests.measure.outage --minutes "$(or $(MINUTES),3)" $(ARGS)

replay: venv ## send again what came to nothing, a dry run at first (SINCE=3d ENTERPRISE=0367 CALL= DELIVERY= REJECTED=1,2 SOURCE= YES=1 REASON= BY=)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.replay --enterprise="$$ENTERPRISE" --call="$$CALL" \
	    $(if $(DELIVERY),--delivery="$$DELIVERY") --since="$$SINCE" --rejected="$$REJECTED" --source="$$SOURCE" \
	    $(if $(filter 1 yes,$(YES)),--yes) --reason="$$REASON" --by="$$BY"

admin: venv ## list who administers an enterprise, add one, give a new password, or end it (ENTERPRISE=0367 LOGIN=ivanova REMOVE=1)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.admin --enterprise="$$ENTERPRISE" --login="$$LOGIN" \
	    $(if $(filter 1 yes,$(REMOVE)),--remove) --by="$$BY"

revoke: venv ## end all sessions and account links of an enterprise (ENTERPRISE=0367)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.revoke --enterprise="$$ENTERPRISE" --by="$$BY"

rotate-keys: venv ## seal every API key under the first key of VAULT_KEYS
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.rotate_keys

rotate-token: venv ## another token for the hosts of an enterprise; the old one works until DROP=old (ENTERPRISE=0367 DROP=old|new)
	@RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.inside infra.commands.rotate_token --enterprise="$$ENTERPRISE" \
	    --drop="$$DROP" --by="$$BY"

bench: venv ## measure latency, losses and capacity beside simpler services (PEERS=1: durable queues too; ARGS="--hold 200")
	@$(if $(ARGS),,$(PY) -m tests.measure.bench.fold)
	@$(PY) -m tests.measure.bench $(if $(filter 1 yes,$(PEERS)),--peers) $(ARGS)

stages: venv ## where each millisecond from an event to the CRM goes (ARGS="--rate 20 --events 7")
	@$(PY) -m tests.measure.bench.stages $(ARGS)

chaos: venv ## kills, stops and faults under load, judged by the CRM's ledger (DURATION=60 SEED=1 BASELINE=1)
	@$(PY) -m tests.measure.chaos

fuzz: venv ## recorded calls as hosts spoil them, against what always holds (MINUTES=10 SEED=1 JOBS=2; CASE=17: that one again)
	@$(PY) -m tests.measure.fuzz

mutants: venv ## small faults of the rules, and whether their tests notice each (COUNT=300 SEED=1 JOBS=1; AT=lib/calls/roles.py:243:)
	@$(PY) -m tests.measure.mutants

siege: venv ## a phone that rings beside each attack of strangers and other enterprises (ONLY=bridge ARGS="--seconds 30")
	@$(PY) -m tests.measure.siege $(if $(ONLY),--only "$(ONLY)") $(ARGS)

autoscaling: venv ## by a model: what 1,000 and 10,000 enterprises need in Google Cloud (ARGS="--enterprises 5000 --cores 8")
	@$(PY) -m tests.measure.autoscaling $(ARGS)

spool: ## try the spool of call events in front of the running stack: it listens at 127.0.0.1:8020 (PORT=8080 RUN_DIR=.local LISTEN=8020)
	@python3 infra/spool/spool.py --to "http://127.0.0.1:$(or $(PORT),8080)" --data "$(RUN_DIR)/spool" \
	    --listen "127.0.0.1:$(or $(LISTEN),8020)"

screenshots: venv ## pictures of every screen of the page, into .cache/screenshots (ARGS="--screens log")
	@$(PY) -m infra.stand_ins.screenshots $(ARGS)

clean: ## remove state and caches; .venv stays
	@if [ -d "$(RUN_DIR)" ]; then RUN_DIR="$(RUN_DIR)" $(PY) -m infra.stand_ins.run --clean; fi
	@rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
