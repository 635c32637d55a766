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
LIBS.conf        := -lyaml
LIBS.store       := -llz4
LIBS.net         := -levent_core -levent_pthreads -lssl -lcrypto
LIBS.shardmap    := -lxxhash
LIBS.planner     := -lpg_query -lprotobuf-c
LIBS.replication := -lpq
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
sources = $(filter-out %_test.c %_fuzz.c %_bench.c $(mains),$(wildcard $(1)/*.c))
tests   = $(wildcard $(1)/*_test.c)
object  = $(patsubst %.c,$(BUILD)/%.o,$(1))
room_libs = $(foreach r,$(1),$(LIBS.$(r)))

all: $(BUILD)/pgbraid $(BUILD)/braidctl ## build pgbraid and braidctl into build/release

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(CFLAGS) -MMD -c $< -o $@

# Each room: one library, one test program.
define room
$(BUILD)/lib$(1).a: $(call object,$(call sources,$(1)))
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
$(BUILD)/$(1)_test: $(call object,$(call tests,$(1))) $(BUILD)/lib$(1).a $(CALLS.$(1):%=$(BUILD)/lib%.a)
	@echo "  LD $$@"
	$$(Q)$$(CC) $$(CFLAGS) -o $$@ $$^ $(call room_libs,$(1) $(CALLS.$(1))) -lcriterion
endef
$(foreach r,$(ROOMS),$(eval $(call room,$(r))))

HOUSE := $(BUILD)/libproxy.a $(CALLS.proxy:%=$(BUILD)/lib%.a)
$(BUILD)/pgbraid: $(BUILD)/proxy/main.o $(HOUSE)
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(call room_libs,proxy $(CALLS.proxy))
$(BUILD)/braidctl: $(BUILD)/proxy/braidctl.o $(HOUSE)
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(call room_libs,proxy $(CALLS.proxy))

TESTED := $(foreach r,$(ROOMS),$(if $(call tests,$(r)),$(r)))
test: $(TESTED:%=$(BUILD)/%_test) ## unit tests of every room (SAN=address,undefined and SAN=thread too)
	@for t in $^; do echo "== $$t"; $$t || exit 1; done
test-%: $(BUILD)/%_test ## unit tests of one room: make test-planner
	$<
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all test
