# deltascope: `make demo` audits the checkpoint in fixtures/, `make check` builds and runs the tests; `make help` lists the rest.

BUILD  ?= build
PREFIX ?= /usr/local
CC      = gcc
# The machine's own vector units; MARCH=x86-64-v3 (say) makes a program for other machines.
MARCH  ?= native
OPT    ?= -O3 -g

PACKAGES = gcc make pkg-config libopenblas-dev liblapacke-dev libgsl-dev libflint-dev libflint-arb-dev libjansson-dev \
           libssl-dev zlib1g-dev libzip-dev libpcre2-dev libcmocka-dev gnuplot-nox
CHECK_PACKAGES = clang libclang-rt-14-dev

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wundef -Wformat=2 -Wcast-qual -Wwrite-strings -Wstrict-prototypes \
           -Wmissing-prototypes -Wconversion -Werror
# Long messages are cut on purpose; clang does not know the flag.
ifneq ($(findstring clang,$(CC)),clang)
WARNINGS += -Wno-format-truncation
endif
Q = $(if $(V),,@)
# Floating point is pinned: no contraction, no reassociation; sums are written in the order they are meant.
FLOATING = -ffp-contract=off -fno-math-errno -fno-trapping-math
HARDEN   = -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
SANITIZE ?=
CPPFLAGS = -Iinclude -D_GNU_SOURCE
CFLAGS   = -std=c11 $(OPT) -march=$(MARCH) $(FLOATING) $(HARDEN) $(WARNINGS) $(SANITIZE) -pthread
LDFLAGS  = -pie -Wl,-z,relro,-z,now $(SANITIZE) -pthread
LIBS     = -llapacke -llapack -lopenblas -lflint-arb -lflint -lgsl -ljansson -lcrypto -lz -lzip -lpcre2-8 -lm

# Rooms of the library; a source named *.real.c is compiled twice, in float and in double.
ROOMS   = base num io spectra stats delta model verify report
SOURCES = $(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c))
REAL    = $(filter %.real.c,$(SOURCES))
PLAIN   = $(filter-out %.real.c,$(SOURCES))
OBJECTS = $(PLAIN:%.c=$(BUILD)/%.o) $(REAL:%.real.c=$(BUILD)/%.f32.o) $(REAL:%.real.c=$(BUILD)/%.f64.o)
COMMANDS = $(filter-out analysis/main.c,$(wildcard analysis/*.c))
COMMAND_OBJECTS = $(COMMANDS:%.c=$(BUILD)/%.o)
TESTS   = $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
LONG_TESTS = $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/long_*.c))
HELPER_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(wildcard tests/test_*.c tests/long_*.c tests/fuzz_*.c),$(wildcard tests/*.c)))

all: $(BUILD)/deltascope $(BUILD)/libdeltascope.a

help:
	@sed -n 's/^## //p' Makefile

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(if $(V),,echo '  CC $@';) $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.f32.o: %.real.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -DDS_REAL_BITS=32 -MMD -MP -c $< -o $@
$(BUILD)/%.f64.o: %.real.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -DDS_REAL_BITS=64 -MMD -MP -c $< -o $@

$(BUILD)/libdeltascope.a: $(OBJECTS)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/deltascope: $(BUILD)/analysis/main.o $(COMMAND_OBJECTS) $(BUILD)/libdeltascope.a
	$(Q)$(if $(V),,echo '  LD $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libdeltascope.a $(LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(HELPER_OBJECTS) $(COMMAND_OBJECTS) $(BUILD)/libdeltascope.a
	$(Q)$(if $(V),,echo '  LD $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libdeltascope.a $(LIBS) -lcmocka

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: all help clean
.SECONDARY:
clean:
	rm -rf $(BUILD) build-san build-clang demo
