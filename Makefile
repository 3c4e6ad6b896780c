# SPDX-License-Identifier: GPL-2.0-or-later
# dvpn: `make` builds, `sudo make check` and `sudo make demo` also install what they need.

VERSION = 0.1.0
PREFIX ?= /usr
SYSCONFDIR ?= /etc
CC ?= cc
BUILD ?= build
CFLAGS ?= -O2 -g
SAN ?=

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla $(WERROR)
HARDEN = -fstack-protector-strong -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
# libev's watchers are casts between structs: no strict aliasing.
override CFLAGS += -std=gnu11 -fno-strict-aliasing -pthread $(WARN) $(HARDEN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
override CPPFLAGS += -D_GNU_SOURCE -DDVPN_VERSION='"$(VERSION)"' -DDVPN_SYSCONFDIR='"$(SYSCONFDIR)"' -I. -Idvpnd
LDFLAGS += -pie -Wl,-z,relro,-z,now -pthread $(if $(SAN),-fsanitize=$(SAN))
LIBS = -lssh2 -lev -lnetfilter_conntrack -lnfnetlink -liniparser -lcares -lcrypto -lm

ROOMS = map capture carry control
SOURCES = $(wildcard dvpnd/*.c $(ROOMS:%=dvpnd/%/*.c))
MAINS = dvpnd/main.c dvpnd/control/dvpnctl.c
LIBRARY = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MAINS),$(SOURCES)))
TESTS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c))
HELPERS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/net/*.c tests/bench/*.c))
FUZZERS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*_fuzz.c))
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o) $(TESTS:=.o) $(HELPERS:=.o) $(FUZZERS:=.o) \
	$(patsubst %.c,$(BUILD)/%.o,$(wildcard chroot/*.c tests/net/wire/*.c tests/bench/loads/*.c))

# The jail's netcat is static, with musl where that is installed.
NC_CC ?= $(if $(SAN),$(CC),$(shell command -v musl-gcc || echo $(CC)))

all: $(BUILD)/dvpnd/dvpnd $(BUILD)/dvpnd/dvpnctl $(BUILD)/chroot/nc

$(BUILD)/dvpnd/dvpnd: $(BUILD)/dvpnd/main.o $(LIBRARY)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/dvpnd/dvpnctl: $(BUILD)/dvpnd/control/dvpnctl.o
	$(CC) $(LDFLAGS) -o $@ $^

NC_SOURCES = $(wildcard chroot/*.c)
$(BUILD)/chroot/nc: $(NC_SOURCES) $(wildcard chroot/*.h) Makefile
	@mkdir -p $(@D)
	$(NC_CC) $(if $(SAN),$(CFLAGS),-static -O2 -g -std=gnu11 $(WARN) -fstack-protector-strong) -D_GNU_SOURCE \
		-DDVPN_VERSION='"$(VERSION)"' -o $@ $(NC_SOURCES)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/%_test: $(BUILD)/tests/unit/%_test.o $(LIBRARY)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

$(BUILD)/tests/net/%: $(BUILD)/tests/net/%.o
	$(CC) $(LDFLAGS) -o $@ $^

# The lab's wide area network.
$(BUILD)/tests/net/wan: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/net/wan.c tests/net/wire/*.c))
	$(CC) $(LDFLAGS) -o $@ $^

# The capture modules by themselves, without those that carry.
$(BUILD)/tests/net/capture_probe: $(BUILD)/tests/net/capture_probe.o \
		$(filter $(BUILD)/dvpnd/log.o $(BUILD)/dvpnd/capture/% $(BUILD)/dvpnd/map/%,$(LIBRARY))
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(LIBRARY)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# What the benchmark puts on a tunnel.
$(BUILD)/tests/bench/load: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench/load.c tests/bench/loads/*.c))
	$(CC) $(LDFLAGS) -o $@ $^

# The far side of a trunk, but for its loop, which the play has, and its log.
$(BUILD)/tests/fuzz/trunk_far_fuzz: $(BUILD)/tests/fuzz/trunk_far_fuzz.o \
		$(patsubst %,$(BUILD)/chroot/trunk_%.o,in open out pool stream table)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^

$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIBRARY)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

tests: all $(TESTS) $(HELPERS)
fuzzers: $(FUZZERS)

# What needs packages or root says so; `sudo make …` has both.
deps:
	@tests/deps build

demo:
	@tests/deps demo
	@$(MAKE) -s --no-print-directory all
	@chown -R --reference=Makefile $(BUILD)
	@BUILD=$(BUILD) HOLD=$(HOLD) tests/demo

check:
	@tests/deps check
	@$(MAKE) --no-print-directory WERROR=-Werror tests
	@chown -R --reference=Makefile $(BUILD)
	@BUILD=$(BUILD) tests/run $(CHECK)

# PEERS=1 also installs and measures what people would use instead; BENCH="--quick", …
bench:
	@tests/deps $(if $(PEERS),peers,bench)
	@$(MAKE) --no-print-directory all $(BUILD)/tests/bench/load $(BUILD)/tests/net/wan
	@chown -R --reference=Makefile $(BUILD)
	@BUILD=$(BUILD) tests/bench/run $(BENCH)

# With the map, with gateways in use, with connections held: tests/bench/SCALE.md.
bench-scale:
	@tests/deps bench
	@$(MAKE) --no-print-directory all $(BUILD)/tests/bench/load
	@chown -R --reference=Makefile $(BUILD)
	@BUILD=$(BUILD) tests/bench/scale/run $(BENCH)

# The jail's netcat stays the static one of the plain build.
asan tsan: $(BUILD)/chroot/nc
asan:
	@$(MAKE) --no-print-directory BUILD=build/asan SAN=address,undefined CFLAGS="-O1 -g" tests
	@BUILD=build/asan tests/run $(CHECK)
tsan:
	@$(MAKE) --no-print-directory BUILD=build/tsan SAN=thread CFLAGS="-O1 -g" tests
	@BUILD=build/tsan tests/run $(CHECK)

FUZZ_SECONDS ?= 60
fuzz:
	@$(MAKE) --no-print-directory BUILD=build/fuzz CC=clang CFLAGS="-O1 -g" \
		SAN=fuzzer-no-link,address,undefined fuzzers
	@BUILD=build/fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) TEST_SECONDS=3600 tests/run tests/fuzz/run

# SYSCONFDIR is built into dvpnd: give `make` the same one.
install: all
install uninstall:
	@BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSCONFDIR='$(SYSCONFDIR)' ./install $@

clean:
	rm -rf build

-include $(OBJECTS:.o=.d)
.PHONY: all tests fuzzers deps demo check bench bench-scale asan tsan fuzz install uninstall clean
.SECONDARY:
