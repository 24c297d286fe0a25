# SPDX-License-Identifier: Apache-2.0
#
# One makefile for the whole tree. Each folder lists its sources in build.mk;
# everything that is made goes below $(O)/$(VARIANT). CC, CFLAGS, CPPFLAGS and
# LDFLAGS belong to the user: they are added to, never replaced.

VERSION := 0.1.0
SOVERSION := 0

# A plain `make` uses all processors; `make -j1` or JOBS=1 is obeyed.
ifeq ($(MAKELEVEL),0)
JOBS ?= $(shell nproc)
MAKEFLAGS += -j$(JOBS)
endif
MAKEFLAGS += --no-builtin-rules --no-builtin-variables --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

O ?= build
VARIANT ?= release
B := $(O)/$(VARIANT)

ifeq ($(origin CC),default)
CC := gcc
endif
CC ?= gcc
AR := ar
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
OBJCOPY ?= objcopy

PREFIX ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec
LIBDIR ?= $(PREFIX)/lib$(if $(MULTIARCH),/$(MULTIARCH))
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
DESTDIR ?=

FOLDERS := shm persist daemon clientlib tools tests
include $(FOLDERS:%=%/build.mk)

# ---- flags ------------------------------------------------------------------

, := ,
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

release_FLAGS := -O2 -g
debug_FLAGS := -Og -g3
asan_FLAGS := -O1 -g -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all
tsan_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
cov_FLAGS := -O0 -g --coverage -fprofile-update=atomic
fuzz_FLAGS := -O1 -g -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
VARIANTS := release debug asan tsan cov fuzz
ifeq ($(filter $(VARIANT),$(VARIANTS)),)
$(error VARIANT=$(VARIANT) is not known, choose one of: $(VARIANTS))
endif
ifeq ($(VARIANT),fuzz)
CC := clang
endif

is_clang := $(findstring clang,$(CC))
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wundef
# gcc only warns here that TSan does not see fences; the code is written for that.
ifeq ($(VARIANT)$(is_clang),tsan)
WARN += -Wno-tsan
endif
ifeq ($(WERROR),1)
WARN += -Werror
endif

ALL_CPPFLAGS = -I. -D_GNU_SOURCE -DLEAT_VERSION='"$(VERSION)"' $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARN) \
	$($(VARIANT)_FLAGS) $(folder_FLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $($(VARIANT)_FLAGS) $(LDFLAGS)

# Only shared memory and disk layouts are worth the noise of -Wconversion. clang
# counts every int that becomes an enum as a change of sign.
clang_QUIET := $(if $(is_clang),-Wno-sign-conversion)
$(B)/obj/shm/% $(B)/obj/persist/%: private folder_FLAGS := -Wconversion $(clang_QUIET)
$(B)/tobj/shm/% $(B)/tobj/persist/%: private folder_FLAGS := -Wconversion $(clang_QUIET)
# leat.h stays free of attributes: what of clientlib is exported, the map says. A
# message that is stored field by field is not to be gathered in vectors first.
$(B)/obj/clientlib/% $(B)/tobj/clientlib/%: private folder_FLAGS := -fvisibility=default -fno-tree-slp-vectorize

pc = $(or $(shell $(PKG_CONFIG) --libs $(1)),$(error \
	pkg-config finds not all of: $(1); run tests/deps.sh))
client_LIBS = $(call pc,jansson libxxhash)
daemon_LIBS = $(call pc,liburcu-memb liburcu-cds numa sqlite3 jansson libsystemd liburing)
persist_LIBS = $(call pc,liburing)
tools_LIBS = $(call pc,jansson libxxhash liburing) -lm
check_LIBS = $(call pc,check)

# Objects are made again when the command that made them would differ.
flags_now = $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)
flags_file := $(B)/flags
$(shell mkdir -p $(B))
ifneq ($(strip $(flags_now)),$(strip $(file <$(flags_file))))
$(file >$(flags_file),$(flags_now))
endif

# A figure means nothing without the commit it was measured at; only what prints it is made again.
commit_now := $(if $(wildcard .git),$(shell git describe --always --dirty --abbrev=12 2>/dev/null))
commit_file := $(B)/commit
ifneq ($(commit_now),$(file <$(commit_file)))
$(file >$(commit_file),$(commit_now))
endif
$(B)/obj/tools/bench_machine.o $(B)/tobj/tools/bench_machine.o: $(commit_file)
$(B)/obj/tools/bench_machine.o $(B)/tobj/tools/bench_machine.o: \
	private folder_FLAGS := -DLEAT_COMMIT='"$(commit_now)"'

# ---- objects and archives ---------------------------------------------------

# obj/ is what is installed. tobj/ is the same with LEAT_TESTPOINTS defined, so
# that test programs can stop and kill at places that release code does not have.
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
tobj = $(patsubst %.c,$(B)/tobj/%.o,$(1))

LIB_SRCS := $(CLIENTLIB_SRCS) $(SHM_SRCS) $(CLIENTLIB_PERSIST_SRCS)
C_TESTS := $(filter %.c,$(UNIT_TESTS) $(FUZZ_TESTS) $(STRESS_TESTS) \
	$(CRASH_TESTS) $(SYS_TESTS))
PRODUCT_SRCS := $(sort $(LIB_SRCS) $(PERSIST_SRCS) $(DAEMON_SRCS) $(TOOLS_SRCS))
TEST_SRCS := $(PRODUCT_SRCS) $(TEST_HELPER_SRCS) $(C_TESTS) tests/fuzz_main.c \
	tests/testpoint_dir.c tests/fault_file.c tests/counts.c tests/fail_calls.c

$(B)/obj/%.o: %.c Makefile $(flags_file)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tobj/%.o: %.c Makefile $(flags_file)
	$(call say,CC,'$< (test)')
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -DLEAT_TESTPOINTS=1 $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

define make_archive
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
endef

$(B)/lib/shm.a: $(call obj,$(SHM_SRCS)) shm/build.mk
$(B)/lib/persist.a: $(call obj,$(PERSIST_SRCS)) persist/build.mk
$(B)/tlib/shm.a: $(call tobj,$(SHM_SRCS)) shm/build.mk
$(B)/tlib/persist.a: $(call tobj,$(PERSIST_SRCS)) persist/build.mk
$(B)/tlib/daemon.a: $(call tobj,$(filter-out daemon/main.c,$(DAEMON_SRCS))) daemon/build.mk
$(B)/tlib/clientlib.a: $(call tobj,$(CLIENTLIB_SRCS)) clientlib/build.mk
$(B)/tlib/tools.a: $(call tobj,$(filter-out tools/leat.c,$(TOOLS_SRCS))) tools/build.mk
$(B)/tlib/helper.a: $(call tobj,$(TEST_HELPER_SRCS)) tests/build.mk
$(B)/tlib/fuzz_main.a: $(call tobj,tests/fuzz_main.c)
$(B)/lib/%.a:
	$(make_archive)
$(B)/tlib/%.a:
	$(make_archive)

# ---- products ---------------------------------------------------------------

SONAME := libleat.so.$(SOVERSION)
LIB_SO := $(B)/libleat.so
LIB_A := $(B)/libleat.a
# A sanitizer's own symbols are resolved by the program that loads the library.
no_undefined := $(if $(filter release debug cov,$(VARIANT)),-Wl$(,)-z$(,)defs)

$(LIB_SO): $(call obj,$(LIB_SRCS)) clientlib/libleat.map clientlib/build.mk
	$(call say,LD,$@)
	$(Q)$(CC) -shared -o $@.$(VERSION) $(filter %.o,$^) $(ALL_LDFLAGS) \
		-Wl,-soname,$(SONAME) -Wl,--version-script=clientlib/libleat.map \
		$(no_undefined) $(client_LIBS)
	$(Q)ln -sf libleat.so.$(VERSION) $(B)/$(SONAME)
	$(Q)ln -sf $(SONAME) $@

# One relocatable object whose only global symbols are those of the map, so that
# the static library shows as little of itself as the shared one.
$(LIB_A): $(call obj,$(LIB_SRCS)) clientlib/libleat.map clientlib/build.mk
	$(call say,AR,$@)
	$(Q)sed -n 's/^[[:space:]]*\(leat_[a-z0-9_]*\);.*/\1/p' clientlib/libleat.map >$@.keep
	$(Q)ld -r -o $@.o $(filter %.o,$^)
	$(Q)$(OBJCOPY) --keep-global-symbols=$@.keep $@.o
	$(Q)rm -f $@ && $(AR) rcs $@ $@.o

$(B)/leatd: $(call obj,$(DAEMON_SRCS)) $(B)/lib/persist.a $(B)/lib/shm.a daemon/build.mk
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(daemon_LIBS)

$(B)/leat: $(call obj,$(TOOLS_SRCS)) $(LIB_A) $(B)/lib/persist.a $(B)/lib/shm.a tools/build.mk
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(tools_LIBS)

# Nothing else is linked with the peers that leat is measured beside.
PEERS_HERE := $(foreach p,$(PEERS),$(if $($(p)_LIBS),$(p)))
peer_program = $(patsubst %,$(B)/leat-bench-%,$(1))
PEER_OBJS := $(call obj,tools/peer.c $(PEERS_HERE:%=tools/peer_%.c))
$(B)/lib/tools.a: $(call obj,$(filter-out tools/leat.c,$(TOOLS_SRCS))) tools/build.mk
$(call peer_program,$(PEERS_HERE)): $(B)/leat-bench-%: $(B)/obj/tools/peer_%.o \
		$(B)/obj/tools/peer.o $(B)/lib/tools.a $(LIB_A)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $($*_LIBS) $(client_LIBS) -lm

# What ends without exit() leaves its counts all the same, see tests/counts.c.
counts_OBJ := $(if $(filter cov,$(VARIANT)),$(B)/tobj/tests/counts.o)
counts_LDFLAGS := $(if $(counts_OBJ),-Wl$(,)--wrap=kill -Wl$(,)--wrap=_exit)

# The daemon and the tool with test points, for crash tests. The daemon dies where
# a file in a directory says, see tests/testpoint_dir.c, and its disk fails where a page says so.
$(B)/tests/leatd: $(call tobj,$(DAEMON_SRCS) tests/testpoint_dir.c tests/fault_file.c) \
		$(counts_OBJ) $(B)/tlib/persist.a $(B)/tlib/shm.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(counts_LDFLAGS) $(daemon_LIBS)
$(B)/tests/leat: $(call tobj,$(TOOLS_SRCS)) \
		$(addprefix $(B)/tlib/,clientlib.a persist.a shm.a)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(tools_LIBS)

# Loaded before the C library, whose calls it lets fail; sanitizers want that place themselves.
FAIL_CALLS := $(if $(filter release debug,$(VARIANT)),$(B)/tests/fail_calls.so)
$(B)/tests/fail_calls.so: $(B)/obj/tests/fail_calls.o
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -shared -o $@ $< $(ALL_LDFLAGS) -ldl

# ---- test programs ----------------------------------------------------------

# What a program is linked with follows from the second word of its name: the parts
# with their test points, or "product": the library as its users get it. An archive
# gives only what is asked for, so one rule serves all programs.
fuzz_main := $(if $(filter fuzz,$(VARIANT)),,$(B)/tlib/fuzz_main.a)
for_shm := persist shm
for_persist := persist shm
for_daemon := daemon persist shm
for_clientlib := clientlib persist shm
for_tools := tools clientlib persist shm
for_any := clientlib persist shm
second_word = $(word 2,$(subst _, ,$(notdir $(basename $(1)))))
parts_of = $(if $(filter product,$(call second_word,$(1))),$(LIB_A), \
	$(patsubst %,$(B)/tlib/%.a,$(or $(for_$(call second_word,$(1))),$(for_any))))
libs_daemon = $(daemon_LIBS)
test_LIBS = $(check_LIBS) $(or $(libs_$(call second_word,$@)),$(tools_LIBS)) -ldl
program = $(patsubst tests/%.c,$(B)/tests/%,$(1))

define test_program
$(call program,$(1)): $(call tobj,$(1)) $(counts_OBJ) $(B)/tlib/helper.a $(if $(filter tests/fuzz_%,$(1)),$(fuzz_main)) \
		$(call parts_of,$(1))
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group \
		$$(ALL_LDFLAGS) $$(counts_LDFLAGS) $(if $(filter fuzz,$(VARIANT)),$(if $(filter tests/fuzz_%,$(1)),-fsanitize=fuzzer)) \
		$$(test_LIBS) $$($(notdir $(basename $(1)))_LDFLAGS)
endef
$(foreach t,$(C_TESTS),$(eval $(call test_program,$(t))))

# ---- targets ----------------------------------------------------------------

# A product without its central file is still being put together: its objects are
# made, and what needs the product itself says that it is missing.
has = $(if $(filter $(1),$(PRODUCT_SRCS) $(wildcard clientlib/libleat.map)),$(2))
ALL := $(call obj,$(PRODUCT_SRCS)) \
	$(call has,clientlib/libleat.map,$(LIB_SO) $(LIB_A)) \
	$(call has,daemon/main.c,$(B)/leatd) $(call has,tools/leat.c,$(B)/leat) \
	$(call peer_program,$(PEERS_HERE))
ALL_TESTS := $(call program,$(C_TESTS)) \
	$(call has,daemon/main.c,$(B)/tests/leatd) $(call has,tools/leat.c,$(B)/tests/leat) \
	$(FAIL_CALLS)
RUN := tests/run.sh -o $(B)/test-logs
TEST_ENV = LEAT_BUILD=$(abspath $(B)) LEAT_VARIANT=$(VARIANT) CC='$(CC)' \
	ASAN_OPTIONS=$${ASAN_OPTIONS-detect_leaks=1:abort_on_error=0} \
	UBSAN_OPTIONS=$${UBSAN_OPTIONS-print_stacktrace=1} \
	TSAN_OPTIONS=$${TSAN_OPTIONS-halt_on_error=1:second_deadlock_stack=1:suppressions=$(CURDIR)/tests/tsan.supp}

.PHONY: all help tests deps check check-run check-unit check-fuzz check-stress \
	check-crash check-sys check-controls check-hostile check-full check-kills check-power soak fuzz lint \
	check-format check-abi model demo bench \
	install uninstall dist clean format

all: $(ALL)  ## build library, daemon and tool
tests: all $(ALL_TESTS)  ## build every test program

deps:  ## install the packages that a build needs, where they are missing
	$(Q)tests/deps.sh

# The packages must be there before anything is compiled, hence the second make.
check:  ## install what is missing, build, run every test and every lint
	$(Q)tests/deps.sh
	$(Q)$(MAKE) check-run

check-run: tests
	$(Q)$(TEST_ENV) $(RUN) $(call program,$(UNIT_TESTS)) $(LINTS) \
		$(call program,$(FUZZ_TESTS) $(STRESS_TESTS) $(CRASH_TESTS) $(SYS_TESTS))

check-unit: $(call program,$(UNIT_TESTS))  ## run the unit tests
	$(Q)$(TEST_ENV) $(RUN) $^
# What fuzz_controls.sh links anew besides, and runs beside a bus.
CONTROLLED := $(if $(filter asan,$(VARIANT)),all $(call program,tests/stress_hostile.c \
	tests/test_clientlib_damage.c tests/test_daemon_fetch.c tests/test_daemon_process.c \
	tests/test_daemon_protocol.c))
check-fuzz: $(call program,$(FUZZ_TESTS)) | $(CONTROLLED)  ## replay the fuzz corpora
	$(Q)$(TEST_ENV) $(RUN) $^
check-stress: tests  ## run the stress tests
	$(Q)$(TEST_ENV) $(RUN) $(call program,$(STRESS_TESTS))
check-crash: tests  ## run the crash tests
	$(Q)$(TEST_ENV) $(RUN) $(call program,$(CRASH_TESTS))
check-sys: tests  ## run the tests of the whole bus
	$(Q)$(TEST_ENV) $(RUN) $(call program,$(SYS_TESTS))
check-controls: tests  ## take out guards, one at a time, and want the gate of each to fail
	$(Q)$(MAKE) $(CONTROLS:tests/%=run-%)
# Side by side: each has a tree of its own, and a busy machine does not turn a gate green.
.PHONY: $(CONTROLS:tests/%=run-%)
$(CONTROLS:tests/%=run-%): run-%:
	$(Q)$(TEST_ENV) $(RUN) tests/$*
hostile_PROGRAMS := $(call program,tests/sys_permission.c tests/sys_permission_table.c \
	tests/stress_hostile.c)
check-hostile: all $(hostile_PROGRAMS)  ## run the tests of hostile clients; they are meant for VARIANT=asan
	$(Q)$(TEST_ENV) $(RUN) $(hostile_PROGRAMS)
fuzz: $(call program,$(filter %.c,$(FUZZ_TESTS)))  ## VARIANT=fuzz: each fuzzer for FUZZ_SECONDS, 60 by default
	$(Q)$(TEST_ENV) tests/fuzz_long.sh $^
FULL_TESTS := tests/crash_persist_damage.c tests/crash_persist_power.c tests/sys_disk_faults.c \
	tests/crash_daemon_catalogue.c tests/sys_failing_clients.c \
	tests/sys_failing_commands.c tests/sys_failing_daemon.c tests/sys_failing_keeper.c
check-full: tests  ## run the long forms of the gates
	$(Q)LEAT_FULL=1 $(TEST_ENV) $(RUN) $(call program,$(FULL_TESTS))
	$(Q)$(MAKE) check-controls
	$(Q)$(MAKE) check-kills
	$(Q)$(MAKE) soak
	$(Q)$(MAKE) VARIANT=asan check-fuzz
	$(Q)LEAT_HOSTILE_SECONDS=600 $(MAKE) VARIANT=asan check-hostile
	$(Q)FUZZ_SECONDS=3600 $(MAKE) VARIANT=fuzz fuzz
	$(Q)$(MAKE) check-power
	$(Q)$(MAKE) model-full
CUTS ?= 100
check-power: all  ## cut the power of a guest with ext4, then XFS, CUTS times each
	$(Q)$(TEST_ENV) tests/power_qemu.sh $(CUTS)
lint: all  ## run every lint
	$(Q)$(TEST_ENV) $(RUN) $(LINTS)
check-format:  ## compare both FORMAT.md with the headers
	$(Q)tests/lint_format.sh .
check-abi: $(LIB_SO)  ## compare exported symbols, symbol map and leat.h
	$(Q)$(TEST_ENV) tests/lint_abi.sh .

model:  ## check the models of the protocol
	$(Q)tests/model/run.sh
.PHONY: model-full
model-full:  ## search larger sizes of the models, for hours and up to 4 GiB
	$(Q)tests/model/run.sh full
# Tests with time bounds are slower here: what fails is shown and does not count, `make check` is
# for that. Left out is what takes long and goes where others go, or builds a copy of its own.
uncounted_TESTS := tests/crash_persist_damage.c tests/crash_persist_power.c \
	tests/fuzz_controls.sh tests/sys_bench.sh tests/sys_bench_peers.sh tests/sys_idle.sh \
	tests/sys_no_system_call.c tests/sys_product_instructions.c tests/sys_readme.sh
counted_TESTS := $(filter-out $(uncounted_TESTS),$(UNIT_TESTS) $(FUZZ_TESTS) $(STRESS_TESTS) \
	$(CRASH_TESTS) $(SYS_TESTS))
.PHONY: coverage coverage-run
coverage:  ## lines and branches that tests reach in shm, persist, control protocol
	$(Q)$(MAKE) VARIANT=cov coverage-run
# The file for the counts of each object is there before, for whichever user a test becomes.
coverage-run: tests
	$(Q)find $(B) -name '*.gcda' -delete
	$(Q)find $(B) -name '*.gcno' | while read -r f; do \
		: >"$${f%gcno}gcda" && chmod 666 "$${f%gcno}gcda"; done
	-$(Q)GCOV_ERROR_FILE=/dev/null CK_TIMEOUT_MULTIPLIER=3 $(TEST_ENV) $(RUN) $(call program,$(counted_TESTS))
	$(Q)tests/coverage.sh $(B) >$(B)/coverage.txt; status=$$?; \
		sed '/^decisions/,$$d' $(B)/coverage.txt; echo 'more in $(B)/coverage.txt'; exit $$status

.PHONY: weak
weak:  ## run the sources of shm on a machine with weak memory
	$(Q)tests/weak/run.sh

demo:  ## install what is missing, build, show the bus at work
	$(Q)tests/deps.sh
	$(Q)$(MAKE) all
	$(Q)$(TEST_ENV) tests/demo.sh

# What takes hours at its full size; `make check` runs a slice.
KILLS ?= 10000
check-kills: tests  ## kill publishers, subscribers and daemons KILLS=10000 times each, stop them as often
	$(Q)$(TEST_ENV) LEAT_KILLS=$(KILLS) $(call program,tests/crash_kills.c)
	$(Q)$(TEST_ENV) LEAT_STOPS=$(KILLS) $(call program,tests/crash_stops.c)

SOAK ?= 1h
soak: tests  ## everything at once, with kills, stops and disk faults, for SOAK=1h
	$(Q)$(TEST_ENV) SOAK=$(SOAK) $(call program,tests/stress_soak.c)

BENCH ?= --all --runs 5
bench:  ## install what is missing, build, measure machine, leat and peers; BENCH=--quick for a look
	$(Q)tests/deps.sh bench
	$(Q)$(MAKE) all
	$(Q)$(B)/leat bench $(BENCH) --report $(O)/bench

MAN_PAGES = $(wildcard tools/*.1 clientlib/man/*.3 clientlib/man/*.7 daemon/*.8)
man_place = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))
put = install -D -m $(1) $(2) '$(DESTDIR)$(3)'
filled = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@BINDIR@|$(BINDIR)|g' \
	-e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' \
	-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
	-e 's|@VERSION@|$(VERSION)|g'
INSTALLED := $(BINDIR)/leat $(SBINDIR)/leatd $(LIBDIR)/libleat.so.$(VERSION) \
	$(LIBDIR)/$(SONAME) $(LIBDIR)/libleat.so $(LIBDIR)/libleat.a \
	$(LIBDIR)/pkgconfig/leat.pc $(INCLUDEDIR)/leat.h $(COMPLETIONDIR)/leat \
	$(UNITDIR)/leatd.service $(UNITDIR)/leatd.socket \
	$(SYSUSERSDIR)/leat.conf $(TMPFILESDIR)/leat.conf \
	$(PEERS:%=$(LIBEXECDIR)/leat/leat-bench-%)

$(B)/leat.pc: clientlib/leat.pc.in Makefile FORCE
	$(Q)$(filled) $< >$@
$(B)/leatd.service: systemd/leatd.service.in Makefile FORCE
	$(Q)$(filled) $< >$@

# An existing configuration is the administrator's and stays.
install: all $(B)/leat.pc $(B)/leatd.service  ## install below $(DESTDIR)$(PREFIX)
	$(Q)$(call put,755,$(B)/leat,$(BINDIR)/leat)
	$(Q)$(call put,755,$(B)/leatd,$(SBINDIR)/leatd)
	$(Q)$(foreach p,$(PEERS_HERE),$(call put,755,$(B)/leat-bench-$(p),$(LIBEXECDIR)/leat/leat-bench-$(p)) &&) :
	$(Q)$(call put,644,$(LIB_SO).$(VERSION),$(LIBDIR)/libleat.so.$(VERSION))
	$(Q)ln -sf libleat.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	$(Q)ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libleat.so'
	$(Q)$(call put,644,$(LIB_A),$(LIBDIR)/libleat.a)
	$(Q)$(call put,644,clientlib/leat.h,$(INCLUDEDIR)/leat.h)
	$(Q)$(call put,644,$(B)/leat.pc,$(LIBDIR)/pkgconfig/leat.pc)
	$(Q)$(call put,644,tools/completions/leat.bash,$(COMPLETIONDIR)/leat)
	$(Q)$(call put,644,$(B)/leatd.service,$(UNITDIR)/leatd.service)
	$(Q)$(call put,644,systemd/leatd.socket,$(UNITDIR)/leatd.socket)
	$(Q)$(call put,644,systemd/leat.sysusers,$(SYSUSERSDIR)/leat.conf)
	$(Q)$(call put,644,systemd/leat.tmpfiles,$(TMPFILESDIR)/leat.conf)
	$(Q)$(foreach m,$(MAN_PAGES),$(call put,644,$(m),$(call man_place,$(m))) &&) :
	$(Q)test -e '$(DESTDIR)$(SYSCONFDIR)/leat/leatd.conf' || \
		$(call put,644,systemd/leatd.conf,$(SYSCONFDIR)/leat/leatd.conf)
	$(Q)test -n '$(DESTDIR)' || ldconfig || test "$$(id -u)" != 0

uninstall:  ## remove what install put there; configuration and data stay
	$(Q)rm -f $(foreach f,$(INSTALLED),'$(DESTDIR)$(f)') \
		$(foreach m,$(MAN_PAGES),'$(DESTDIR)$(call man_place,$(m))')

dist: ## pack the committed tree as $(O)/leat-VERSION.tar.gz
	$(Q)git archive --prefix=leat-$(VERSION)/ -o $(O)/leat-$(VERSION).tar.gz HEAD
	$(Q)echo $(O)/leat-$(VERSION).tar.gz

clean:  ## remove everything that was made
	$(Q)rm -rf $(foreach v,$(VARIANTS),$(O)/$(v)) $(O)/bench $(O)/leat-*.tar.gz
	$(Q)rmdir $(O) 2>/dev/null || test "$$(ls -A $(O) 2>/dev/null)" || test ! -e $(O)

format:  ## rewrite the sources as .clang-format says
	$(Q)$(CLANG_FORMAT) -i $(wildcard $(FOLDERS:%=%/*.[ch]))

help:  ## print this list
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "  %-14s%s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  VARIANT=$(VARIANT) ($(VARIANTS))'
	@echo '  O=$(O) where objects go, V=1 shows commands, WERROR=1 makes warnings errors,'
	@echo '  PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) JOBS=$(JOBS)'

FORCE:
.PHONY: FORCE

-include $(patsubst %.o,%.d,$(PEER_OBJS) $(call obj,$(PRODUCT_SRCS)) $(call tobj,$(TEST_SRCS)))
