# sync: PostgreSQL tables and a Salesforce org, kept in step.
#
#   make && make install     as for any extension (PGXS); PG_CONFIG=... chooses the server
#   make installcheck        regression and isolation tests against a running server
#   make test                everything that checks the project, with all of its own set-up
#   make demo, demo-stop     the thing to look at, and how to get rid of it
#   make bench               the figures in the README
#   make chaos               random writers, faults and kills on both sides
#   make fuzz                the decoders of answers under libFuzzer

EXTENSION = sync
MODULE_big = sync
DATA = $(wildcard sql/sync--*.sql)
EXTVERSION = $(shell sed -n "s/default_version = '\(.*\)'/\1/p" sync.control)

OBJS = \
	src/sync.o \
	src/worker.o \
	src/launcher.o \
	src/wake.o \
	src/functions.o \
	src/enable.o \
	src/set.o \
	src/follow.o \
	src/rows.o \
	src/ask.o \
	src/check.o \
	src/fdw.o \
	src/login.o \
	src/step.o \
	src/heed.o \
	src/mapping.o \
	src/push.o \
	src/push_rows.o \
	src/push_look.o \
	src/push_send.o \
	src/push_outcome.o \
	src/push_doubt.o \
	src/push_bulk.o \
	src/pull.o \
	src/fold.o \
	src/conflict.o \
	src/columns.o \
	src/copy.o \
	src/cycle.o \
	src/evolve.o \
	src/salesforce/chain.o \
	src/salesforce/http.o \
	src/salesforce/headers.o \
	src/salesforce/json.o \
	src/salesforce/jwt.o \
	src/salesforce/session.o \
	src/salesforce/api.o \
	src/salesforce/describe.o \
	src/salesforce/soql.o \
	src/salesforce/query.o \
	src/salesforce/bulk.o \
	src/salesforce/ingest.o \
	src/salesforce/collections.o \
	src/salesforce/csv.o \
	src/salesforce/id.o \
	src/salesforce/text.o \
	src/salesforce/url.o \
	src/tables/catalog.o \
	src/tables/altered.o \
	src/tables/rights.o \
	src/tables/sql.o \
	src/tables/relation.o \
	src/tables/attempt.o \
	src/tables/blocker.o \
	src/tables/schema.o \
	src/tables/load.o \
	src/tables/merge.o \
	src/tables/records.o \
	src/tables/capture.o \
	src/tables/capture_values.o \
	src/tables/provisional.o \
	src/tables/stage.o \
	src/tables/stamps.o \
	src/tables/redirect.o \
	src/tables/outbox.o \
	src/tables/incoming.o \
	src/tables/identity.o \
	src/tables/guard.o \
	src/tables/watch.o \
	src/tables/writer.o

# Only what is marked PGDLLEXPORT leaves the module: before PostgreSQL 16 any
# other symbol could be taken over by one of the server's own.
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -fvisibility=hidden -Wno-declaration-after-statement
PG_CPPFLAGS += -DSYNC_VERSION='"$(EXTVERSION)"'
SHLIB_LINK = -lcurl -ljson-c -lcrypto

# Each compilation writes down the headers that it read.
PG_CFLAGS += -MMD -MP
DEPENDENCIES = $(OBJS:.o=.d)

# WERROR=1, as in CI.  The server's headers are read as system headers, so that
# this judges our own code alone.  Unused parameters are what callbacks have.
ifdef WERROR
PG_CPPFLAGS += -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS += -Wall -Wextra -Werror -Wno-unused-parameter
endif

# pg_regress reads sql/ and expected/, the isolation tester test/specs/ and
# test/expected/.  The scripts are named one by one, since sql/ also holds the
# installation script.
REGRESS = install options errors
ISOLATION = configuration
ISOLATION_OPTS = --inputdir=$(srcdir)/test

EXTRA_CLEAN = $(DEPENDENCIES) output_iso

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)

# PostgreSQL 13 does not install the isolation tester.
ifeq ($(wildcard $(dir $(PGXS))../test/isolation/pg_isolation_regress),)
ISOLATION :=
endif

# A server that was built with LLVM asks for bitcode, which only its clang can
# make; without one the extension works as well.
SERVER_CLANG := $(shell sed -n 's/^CLANG *= *//p' $(dir $(PGXS))../Makefile.global)
ifeq ($(shell command -v '$(SERVER_CLANG)' 2>/dev/null),)
override with_llvm = no
endif

include $(PGXS)

$(OBJS:.o=.bc): %.bc: %.o
-include $(DEPENDENCIES)

else

all install installcheck:
	@echo "$(PG_CONFIG) does not answer: install the server's development files" >&2
	@echo "(Debian: postgresql-server-dev-15), or name another by PG_CONFIG=..." >&2
	@exit 1

endif

.DEFAULT_GOAL := all

# These bring what they need, build a copy of their own, and leave this tree
# and any server of this machine alone.
.PHONY: test demo demo-stop bench chaos fuzz

test:
	@test/run $(TESTS)

demo:
	@test/demo/start

demo-stop:
	@test/demo/stop

bench:
	@test/bench/run

# Writers on both sides, faults and kills at random, then a comparison:
# make chaos MINUTES=30 SEED=7
chaos: MINUTES ?= 5
chaos:
	@CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) \
		FILE_SECONDS=$$(($(MINUTES) * 60 + 600)) test/run test/chaos/chaos.pl

# What reads foreign bytes: make fuzz MINUTES=60 TARGET=query SEED=7
fuzz: MINUTES ?= 10
fuzz:
	@FUZZ_MINUTES=$(MINUTES) FUZZ_TARGET=$(TARGET) FUZZ_SEED=$(SEED) \
		FILE_SECONDS=$$(($(MINUTES) * 60 + 3600)) test/run test/fuzz/fuzz.pl
