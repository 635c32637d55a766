# One file, not recursive. `make help` lists the targets.
#
# The floor plan, lowest room first: a room may call the rooms on its line and no other. A room's
# unit tests link against exactly these libraries, so a call upwards is a link error.

CALLS.base        :=
CALLS.wire        := base
CALLS.conf        := base
CALLS.store       := base
CALLS.net         := base
CALLS.shardmap    := conf base
CALLS.planner     := shardmap conf wire base
CALLS.txn         := store base
CALLS.replication := txn shardmap conf store net wire base
CALLS.proxy       := replication txn planner shardmap conf net store wire base
ROOMS := base wire conf store net shardmap planner txn replication proxy

# The outside library of each room; no other room names it.
LIBS.wire        := -lm
LIBS.conf        := -lyaml
LIBS.store       := -llz4
LIBS.net         := -levent_core -levent_pthreads -lssl -lcrypto
LIBS.shardmap    := -lxxhash
LIBS.planner     := -lpg_query -lprotobuf-c
LIBS.replication := -lpq -lcurl -lhiredis -lrdkafka
LIBS.proxy       := -levent_extra -ljansson

comma := ,
SAN   ?=
BUILD ?= build/$(or $(subst $(comma),-,$(SAN)),release)
ifeq ($(origin CC),default)
CC := gcc
endif
WARN  := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
         -Wmissing-prototypes -Wswitch-enum -Wvla -Wundef -Wwrite-strings -Wformat=2 \
         -Wimplicit-fallthrough -Wpointer-arith
CFLAGS := -std=c11 -D_GNU_SOURCE -g -fno-omit-frame-pointer -fno-common -pthread -I. \
          -I/usr/include/postgresql $(WARN) -Werror
# A sanitizer build walks whole structures too, and stops at the first finding.
CFLAGS += $(if $(SAN),-O1 -DCHECK_SLOW -fsanitize=$(SAN) -fno-sanitize-recover=all,-O2)

Q ?= @

VERSION := 0.1.0
CFLAGS  += -DPGBRAID_VERSION='"$(VERSION)"'

mains   := proxy/main.c proxy/braidctl.c
# A room is a folder, and the folders in it when it has many subjects.
files   = $(wildcard $(1)/*$(2) $(1)/*/*$(2))
sources = $(filter-out %_test.c %_fuzz.c %_bench.c $(mains),$(call files,$(1),.c))
tests   = $(call files,$(1),_test.c)
object  = $(patsubst %.c,$(BUILD)/%.o,$(1))
room_libs = $(foreach r,$(1),$(LIBS.$(r)))

all: $(BUILD)/pgbraid $(BUILD)/braidctl ## build pgbraid and braidctl into build/release

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

# criterion's runner cannot start under the thread sanitizer; ours can.
ifneq (,$(findstring thread,$(SAN)))
$(ROOMS:%=$(BUILD)/%_test): $(BUILD)/regress/unit/plain_runner.o
else
LIBS.test := -lcriterion
endif

# Each room: one library, one test program, a program per fuzzer.
define room
$(BUILD)/lib$(1).a: $(call object,$(call sources,$(1)))
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
$(BUILD)/$(1)_test: $(call object,$(call tests,$(1))) $(BUILD)/lib$(1).a $(CALLS.$(1):%=$(BUILD)/lib%.a)
	@echo "  LD $$@"
	$$(Q)$$(CC) $$(CFLAGS) -o $$@ $$^ $(call room_libs,$(1) $(CALLS.$(1))) $(LIBS.test)
$(BUILD)/$(1)/%_fuzz: $(BUILD)/$(1)/%_fuzz.o $(BUILD)/lib$(1).a $(CALLS.$(1):%=$(BUILD)/lib%.a)
	@echo "  LD $$@"
	$$(Q)$$(CC) $$(CFLAGS) -fsanitize=fuzzer -o $$@ $$^ $(call room_libs,$(1) $(CALLS.$(1)))
endef
$(foreach r,$(ROOMS),$(eval $(call room,$(r))))

HOUSE := $(BUILD)/libproxy.a $(CALLS.proxy:%=$(BUILD)/lib%.a)
$(BUILD)/pgbraid: $(BUILD)/proxy/main.o $(HOUSE)
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(call room_libs,proxy $(CALLS.proxy))
$(BUILD)/braidctl: $(BUILD)/proxy/braidctl.o $(HOUSE)
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(call room_libs,proxy $(CALLS.proxy))

# `make check`, `demo` and `bench` begin on a machine that may have nothing but make: what needs a
# compiler runs in a make of its own, after the packages are there.
PYTHON  ?= $(firstword $(wildcard /usr/bin/python3) python3)
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
SECONDS ?= 20
PREFIX  ?= /usr/local
ours     = $(foreach r,$(ROOMS) regress,$(call files,$(r),.c))
headers  = $(foreach r,$(ROOMS) regress,$(call files,$(r),.h))
FUZZERS := $(foreach r,$(ROOMS),$(patsubst %.c,%,$(call files,$(r),_fuzz.c)))
PAGES   := manual:docs/settings.md sample:conf/pgbraid.yaml errors:docs/errors.md \
           metrics:docs/metrics.md logs:docs/logs.md pgbouncer:docs/pgbouncer.md \
           statements:docs/statements.md

TESTED := $(foreach r,$(ROOMS),$(if $(call tests,$(r)),$(r)))
test: $(TESTED:%=$(BUILD)/%_test) ## unit tests of every room (SAN=address,undefined and SAN=thread too)
	@status=0; for t in $^; do echo "== $$t"; $$t || status=1; done; exit $$status
test-%: $(BUILD)/%_test ## unit tests of one room: make test-planner
	$<
build-tests: $(TESTED:%=$(BUILD)/%_test)

deps:
	@conf/install-deps test
demo: deps ## three PostgreSQL servers, pgbraid, data and a tour (DEMO=exit: check all of it and stop)
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) regress/demo/demo.py start $(if $(filter exit,$(DEMO)),--exit)
demo-stop: ## stop what `make demo` left running
	@$(PYTHON) regress/demo/demo.py stop
check: deps ## every test there is; ends with a line of counts
	@$(PYTHON) regress/check.py --jobs $(JOBS)
check-san: deps ## the regress schedules under address and undefined behaviour sanitizers
	@$(PYTHON) regress/check.py --jobs $(JOBS) --sanitized
regress: deps ## behaviour from outside only, against real servers
	@$(PYTHON) regress/check.py --jobs $(JOBS) --regress
stress: deps all ## many clients of all kinds with kills, DDL and reloads: SECONDS=20 SEED=1
	@$(PYTHON) regress/stress/stress.py --build $(BUILD) --seconds $(SECONDS) --seed $(or $(SEED),1)
soak: deps all ## ten minutes of mixed load with kills and crashing servers; memory must stay flat
	@$(PYTHON) regress/stress/stress.py --build $(BUILD) --seconds 600 --clients 24 --pool 5 --crash --seed $(or $(SEED),1)
compare-long: deps all ## random SELECTs against PostgreSQL: COUNT=1000000 SEED=1 SHARDS=3 JOBS=4
	@$(PYTHON) regress/compare/random_queries.py --build $(BUILD) --seed $(or $(SEED),1) --count $(or $(COUNT),1000000) --shards $(or $(SHARDS),3) --jobs $(JOBS) \
	  --state $(BUILD)/compare-long.$(or $(SEED),1).json --wrong $(BUILD)/compare-long.$(or $(SEED),1).wrong --refused
kill-long: deps all ## everything dies at every step of two-phase commits, then COUNT=1000 times by SEED, with either ledger
	@$(PYTHON) regress/failure/kill_steps.py --build $(BUILD) --steps all --count $(or $(COUNT),1000) $(if $(SEED),--seed $(SEED)) --quiet
cdc-long: deps all ## change capture: random writers with kills of the source and of servers: SECONDS=20 ROUNDS=5 SEED=1
	@$(PYTHON) regress/cdc/source.py --build $(BUILD) --seconds $(SECONDS) --rounds $(or $(ROUNDS),5) --seed $(or $(SEED),1) --verbose
	@$(PYTHON) regress/cdc/log.py --build $(BUILD) --seconds $(SECONDS) --seed $(or $(SEED),1)
	@$(PYTHON) regress/cdc/cuts.py --build $(BUILD) --seconds $(SECONDS) --seed $(or $(SEED),1) --kill
cdc-versions: deps all ## change capture's source against other PostgreSQLs, from Maven Central: VERSIONS="10 12 14 16 17" SECONDS=20 ROUNDS=3 SEED=1
	@$(PYTHON) regress/cdc/versions.py --build $(BUILD) --seconds $(SECONDS) --rounds $(or $(ROUNDS),3) --seed $(or $(SEED),1) $(VERSIONS)
cdc-brokers: deps all ## change capture's sinks against real brokers that are killed, from Maven Central: BROKERS="kafka search" SECONDS=20 SEED=1
	@$(PYTHON) regress/cdc/brokers.py --build $(BUILD) --seconds $(SECONDS) --seed $(or $(SEED),1) $(BROKERS)
sim: $(BUILD)/txn_test ## two-phase commits with crashing servers, disks and pgbraids in one process: COUNT=100000 SEED=1
	@first=$(or $(SEED),1); each=$$((($(or $(COUNT),100000) + $(JOBS) - 1) / $(JOBS))); pids=; status=0; \
	    for i in $$(seq $(JOBS)); do \
	        TXN_SIM_FIRST=$$first TXN_SIM_RUNS=$$each $< --filter 'txn_sim/*' & pids="$$pids $$!"; \
	        first=$$((first + each)); \
	    done; for p in $$pids; do wait $$p || status=1; done; exit $$status
sim-store: $(BUILD)/store_test ## key-value stores and a model on disks that fail: COUNT=100000 SEED=1 KIND=lsm|btree (both)
	@first=$(or $(SEED),1); each=$$((($(or $(COUNT),100000) + $(JOBS) - 1) / $(JOBS))); pids=; status=0; \
	    for i in $$(seq $(JOBS)); do \
	        KV_SIM_KIND=$(KIND) KV_SIM_FIRST=$$first KV_SIM_RUNS=$$each $< --filter 'kv_sim/what*' & pids="$$pids $$!"; \
	        first=$$((first + each)); \
	    done; for p in $$pids; do wait $$p || status=1; done; exit $$status
kill-store: $(BUILD)/store_test ## key-value stores on the real disk, killed COUNT=1000 times each: SEED=1
	@KV_KILL_RUNS=$(or $(COUNT),1000) KV_KILL_SEED=$(or $(SEED),1) $< --filter 'kv_kill/*'
kill-log: $(BUILD)/replication_test ## the change log on the real disk, killed COUNT=500 times: SEED=1
	@CDC_KILL_RUNS=$(or $(COUNT),500) CDC_KILL_SEED=$(or $(SEED),1) $< --filter 'cdc_kill/*'
compare-writes: deps all ## random writes against PostgreSQL, all tables after each transaction: COUNT=20000 SEED=1
	@$(PYTHON) regress/compare/random_writes.py --build $(BUILD) --seed $(or $(SEED),1) --count $(or $(COUNT),20000) --shards $(or $(SHARDS),3)
tpch: deps all ## the queries of TPC-H over three shards against one PostgreSQL: SCALE=0.1
	@$(PYTHON) regress/tpch/tpch.py --build $(BUILD) --scale $(or $(SCALE),0.1) --times 2 --cold
regress-pg: ## PostgreSQL's own regression files, directly and through pgbraid (fetches its source package)
	@conf/install-deps regress-pg
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) regress/pg/pg_regress.py --build $(BUILD)

bench: ## pgbraid beside PgBouncer and a direct connection
	@conf/install-deps bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) bench/run.py
bench-snapshot: ## what one moment over several shards costs
	@conf/install-deps bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) bench/snapshot.py
bench-shards: ## statements over three shards beside one PostgreSQL with all rows
	@conf/install-deps bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) bench/shards.py

bench-writes: ## writes over three shards beside one PostgreSQL, and two-phase commits beside the same by hand
	@conf/install-deps bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) bench/writes.py

bench-cdc: ## change capture beside pg_recvlogical, and how long a commit takes to reach a consumer
	@conf/install-deps bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) all
	@$(PYTHON) bench/cdc.py

$(BUILD)/bench/store/driver: $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/store/*.c)) $(BUILD)/libstore.a $(BUILD)/libbase.a
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LIBS.store) -lleveldb -lrocksdb -llmdb
bench-store: ## our stores beside LevelDB, RocksDB and LMDB: COUNT=1000000 keys
	@conf/install-deps bench
	@$(MAKE) --no-print-directory -s -j$(JOBS) $(BUILD)/bench/store/driver
	@$(PYTHON) bench/store.py --build $(BUILD) --keys $(or $(COUNT),1000000)

build-fuzzers: $(FUZZERS:%=$(BUILD)/%)
fuzz: deps ## every fuzzer for SECONDS=20 each
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build/fuzz CC=clang SAN=address,undefined,fuzzer-no-link WARN=-w build-fuzzers
	@for f in $(FUZZERS:%=build/fuzz/%); do echo "== $$f"; mkdir -p $$f.corpus; \
	    $$f -max_total_time=$(SECONDS) -timeout=10 -print_final_stats=0 -artifact_prefix=$$f. $$f.corpus \
	        >$$f.log 2>&1 || { tail -n 40 $$f.log; exit 1; }; tail -n 1 $$f.log; done

format: ## rewrite the C files as .clang-format says
	clang-format -i $(ours) $(headers)
check-format: ## are they written so
	@clang-format --dry-run -Werror $(ours) $(headers)
lint: ## clang-tidy over every room
	@printf '%s\n' $(filter-out %_test.c,$(filter-out regress/%,$(ours))) | xargs -P $(JOBS) -n 4 sh -c \
	    'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -I. -I/usr/include/postgresql -DPGBRAID_VERSION="\"0\"" 2>/dev/null || exit 1' lint
tidy: $(BUILD)/braidctl ## code about code: floor plan, sizes, banned calls, generated pages
	@$(PYTHON) regress/tidy/tidy.py --braidctl $<
docs: $(BUILD)/braidctl ## write the generated pages anew
	@for p in $(PAGES); do echo "  DOC $${p#*:}"; $< $${p%%:*} >$(BUILD)/page && cp $(BUILD)/page $${p#*:} || exit 1; done

install: all ## to $(PREFIX), under $(DESTDIR) when given
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/pgbraid $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(BUILD)/pgbraid $(BUILD)/braidctl $(DESTDIR)$(PREFIX)/bin
	install -m 644 conf/pgbraid.yaml $(DESTDIR)$(PREFIX)/share/pgbraid/pgbraid.yaml
	sed 's|@PREFIX@|$(PREFIX)|g' conf/pgbraid.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/pgbraid.service
	install -m 644 conf/pgbraid.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/pgbraid.socket
clean: ## remove build/ (stop the demo first)
	@! [ -e build/demo/state.json ] || $(PYTHON) regress/demo/demo.py stop
	rm -rf build
help: ## this list
	@sed -nE 's/^([a-z][a-z-]*|test-%):.*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r t d; do printf '  %-14s %s\n' "$$t" "$$d"; done
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: cdc-long cdc-versions cdc-brokers kill-long kill-store kill-log sim sim-store compare-long compare-writes tpch stress soak regress-pg all test build-tests deps demo demo-stop check check-san regress bench bench-shards bench-snapshot bench-store bench-writes bench-cdc build-fuzzers fuzz format \
        check-format lint tidy docs install clean help
