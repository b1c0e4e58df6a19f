# deltascope: `make demo` audits the checkpoint in fixtures/, `make check` builds and runs the tests; `make help` lists the rest.

BUILD  ?= build
PREFIX ?= /usr/local
CC      = gcc
# The machine's own vector units; MARCH=x86-64-v3 (say) makes a program for other machines.
MARCH  ?= native
OPT    ?= -O3 -g

PACKAGES = gcc make pkg-config libopenblas-dev liblapacke-dev libgsl-dev libflint-dev libflint-arb-dev libgmp-dev libjansson-dev \
           libssl-dev zlib1g-dev libzip-dev libpcre2-dev libunistring-dev libcmocka-dev gnuplot-nox \
           libblas3 liblapack3 libblis4-pthread libopenmpi-dev openmpi-bin
CHECK_PACKAGES = clang libclang-rt-14-dev python3-numpy
# The browser that opens a report.
LONG_PACKAGES = chromium texlive-latex-base texlive-latex-recommended
# What makes a minimal system in a folder.
FRESH_PACKAGES = debootstrap git
# A scheduler that starts its jobs here.
SLURM_PACKAGES = slurmctld slurmd slurm-client munge
TIDY_PACKAGES = clang clang-tidy clang-tools cppcheck

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wundef -Wformat=2 -Wcast-qual -Wwrite-strings -Wstrict-prototypes \
           -Wmissing-prototypes -Wconversion -Werror
# Long messages are cut on purpose; clang does not know the flag.
ifneq ($(findstring clang,$(CC)),clang)
WARNINGS += -Wno-format-truncation
endif
Q = $(if $(V),,@)
# Floating point is pinned: no contraction, no reassociation; sums are written in the order they are meant.
FLOATING = -ffp-contract=off -fno-math-errno -fno-trapping-math
HARDEN   = -D_FORTIFY_SOURCE=2 -fstack-protector-strong
SANITIZE ?=
, := ,
CPPFLAGS = -Iinclude -D_GNU_SOURCE $(ROOM_PATHS)
# The program's rooms see each other; a library's room sees the public headers and itself.
$(BUILD)/analysis/%: ROOM_PATHS = -Ianalysis
build-tidy/analysis/%: ROOM_PATHS = -Ianalysis
build-tidy/tests/%: ROOM_PATHS = -Isrc -Ianalysis -Itests/support
$(BUILD)/tests/%: ROOM_PATHS = -Isrc -Ianalysis -Itests/support
CFLAGS   = -std=c11 $(OPT) -march=$(MARCH) $(FLOATING) -fPIC -fvisibility=hidden -fno-semantic-interposition $(HARDEN) $(WARNINGS) $(SANITIZE) -pthread
LDFLAGS  = -pie -Wl,-z,relro,-z,now $(SANITIZE) -pthread
LIBS     = -llapacke -llapack -lopenblas -lflint-arb -lflint -lgmp -lgsl -ljansson -lcrypto -lz -lzip -lpcre2-8 -lunistring -lm

# What joins processes that mpirun started is a file of its own, loaded then alone: the program needs no MPI to start. MPI names the
# pkg-config package; `make MPI=` makes none.
MPI    ?= $(firstword $(foreach package,ompi-c mpich,$(shell pkg-config --exists $(package) 2>/dev/null && echo $(package))))
PLUGIN_SOURCE = src/ranks/transport_mpi.c
PLUGIN  = $(if $(MPI),$(BUILD)/deltascope-mpi.so)
MPI_CFLAGS = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(MPI)))

# Rooms of the library; a source named *.real.c is compiled twice, in float and in double.
ROOMS   = base num io ranks spectra stats delta model verify run train measure claims study report
SOURCES = $(filter-out $(PLUGIN_SOURCE),$(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c)))
REAL    = $(filter %.real.c,$(SOURCES))
PLAIN   = $(filter-out %.real.c,$(SOURCES))
OBJECTS = $(PLAIN:%.c=$(BUILD)/%.o) $(REAL:%.real.c=$(BUILD)/%.f32.o) $(REAL:%.real.c=$(BUILD)/%.f64.o)
COMMANDS = $(filter-out analysis/cli/main.c,$(wildcard analysis/*/*.c))
COMMAND_OBJECTS = $(COMMANDS:%.c=$(BUILD)/%.o)
TESTS   = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/*/test_*.c))
LONG_TESTS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/*/long_*.c))
HELPER_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/support/interpose_malloc.c,$(wildcard tests/support/*.c)))

# The number behind "so." in the soname changes when programs linked before would no longer run.
VERSION := $(shell sed -n 's/^.define DS_VERSION "\(.*\)"/\1/p' include/deltascope/base.h)
SONAME   = libdeltascope.so.0
SHARED   = libdeltascope.so.$(VERSION)

all: $(BUILD)/deltascope $(BUILD)/libdeltascope.a $(BUILD)/$(SHARED) $(PLUGIN)

help:
	@sed -n 's/^## //p' Makefile

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(if $(V),,echo '  CC $@';) $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.f32.o: %.real.c
	@mkdir -p $(@D)
	$(Q)$(if $(V),,echo "  CC $@";) $(CC) $(CPPFLAGS) $(CFLAGS) -DDS_REAL_BITS=32 -MMD -MP -c $< -o $@
$(BUILD)/%.f64.o: %.real.c
	@mkdir -p $(@D)
	$(Q)$(if $(V),,echo "  CC $@";) $(CC) $(CPPFLAGS) $(CFLAGS) -DDS_REAL_BITS=64 -MMD -MP -c $< -o $@

# The figures' templates are compiled in.
$(BUILD)/src/report/template.o: $(wildcard plots/*.gp)

$(BUILD)/libdeltascope.a: $(OBJECTS)
	@rm -f $@
	$(Q)ar rcs $@ $^

# The archive's objects; only what the public headers declare is visible.
$(BUILD)/$(SHARED): $(OBJECTS)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,-z,relro,-z,now $(if $(SANITIZE),,-Wl$(,)-z$(,)defs) $(SANITIZE) -pthread -o $@ $^ $(LIBS)
	$(Q)ln -sf $(SHARED) $(BUILD)/$(SONAME) && ln -sf $(SONAME) $(BUILD)/libdeltascope.so

$(BUILD)/deltascope: $(BUILD)/analysis/cli/main.o $(COMMAND_OBJECTS) $(BUILD)/libdeltascope.a
	$(Q)$(if $(V),,echo '  LD $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libdeltascope.a $(LIBS)

$(PLUGIN_SOURCE:%.c=$(BUILD)/%.o): CPPFLAGS += $(MPI_CFLAGS)
$(BUILD)/deltascope-mpi.so: $(PLUGIN_SOURCE:%.c=$(BUILD)/%.o)
	$(Q)$(CC) -shared -Wl,-z,relro,-z,now $(SANITIZE) -pthread -o $@ $< $(shell pkg-config --libs $(MPI))

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(HELPER_OBJECTS) $(COMMAND_OBJECTS) $(BUILD)/libdeltascope.a
	$(Q)$(if $(V),,echo '  LD $@';) $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libdeltascope.a $(LIBS) -lcmocka

# The program with an allocator that fails when told. Sanitizers bring their own: then only the program's own calls can fail.
FAULT_NAMES = malloc calloc realloc aligned_alloc
FAULT_FLAGS = $(if $(SANITIZE),$(FAULT_NAMES:%=-Wl,--wrap=%))
$(BUILD)/tests/support/interpose_malloc.o: CPPFLAGS += $(if $(SANITIZE),-DFAULT_WRAP)
$(BUILD)/deltascope-faults: $(BUILD)/analysis/cli/main.o $(COMMAND_OBJECTS) $(BUILD)/tests/support/interpose_malloc.o $(BUILD)/libdeltascope.a
	$(Q)$(if $(V),,echo '  LD $@';) $(CC) $(LDFLAGS) $(FAULT_FLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libdeltascope.a $(LIBS)
$(BUILD)/tests/program/test_faults $(BUILD)/tests/program/long_faults: | $(BUILD)/deltascope-faults

# The fuzz targets: each with an engine for `make fuzz`, and all together, their entry point renamed, in one regression test.
FUZZ = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_OBJECTS = $(FUZZ:%=$(BUILD)/tests/fuzz/fuzz_%.plain.o)
$(BUILD)/tests/fuzz/fuzz_%.plain.o: tests/fuzz/fuzz_%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -DLLVMFuzzerTestOneInput=fuzz_$* $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/tests/io/test_fuzz_regression: $(FUZZ_OBJECTS)
$(BUILD)/fuzz/manifest: $(BUILD)/analysis/report/manifest.o
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(HELPER_OBJECTS) $(BUILD)/libdeltascope.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(BUILD)/libdeltascope.a $(LIBS) -lcmocka

# How a program is compiled against the library, for the test that does so with the example of include/deltascope/README.md.
$(BUILD)/tests/run/test_example.o build-tidy/tests/run/test_example.c.passed: CPPFLAGS += \
    -D'EXAMPLE_COMPILE="$(CC) -std=c11 -Wall -Wextra -Werror -Iinclude $(SANITIZE) -pthread"' \
    -D'EXAMPLE_LIBRARIES="$(BUILD)/libdeltascope.a $(LIBS)"'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)


## make               the program (build/deltascope) and the library (build/libdeltascope.a, .so)
## make deps          install the Debian packages that are missing (apt, with sudo when not root)
## make demo          audit the trained checkpoint in fixtures/ and write a report with figures into demo/
## make train-demo    train five small models by one recipe and compare them, in demo-train/
## make study-demo    train three small variants under three seeds by one plan, in demo-study/
## make check         build and run the tests
## make check-cores   the tests that call LAPACK under every kind of kernels the processor can run
## make check-san     the same under AddressSanitizer and UndefinedBehaviorSanitizer
## make check-clang   build everything with clang, warnings as errors
## make check-long    the long tests (allocation failures, kills, proofs), check-mutation, check-matrix and check-msan
## make check-mutation  plant one error at a time in kernels and model: verify has to fail each time
## make check-matrix  every command on models of every option at the shortest windows, under the sanitizers
## make check-fresh   the README's two commands in a minimal Debian 12 that debootstrap makes (as root)
## make check-slurm  the batch scripts of fixtures/slurm under a scheduler of this machine alone, jobs queued again half way
## make check-msan    the readers over all hostile and fuzz inputs under MemorySanitizer
## make tidy          clang-tidy and cppcheck over all C, scan-build over src and analysis
## make fuzz          run every fuzz target for SECONDS (60) with libFuzzer; FUZZ="zip torch" chooses some
## make layers        check the rules of the house: layers, sizes, who may print, loop, name a residual rule
## make bench         speed of every stage beside the machine's own matrix product
## make install       into PREFIX (/usr/local); prefix, bindir, libdir ... and DESTDIR as in every GNU makefile
## make format        clang-format everything
.PHONY: all help deps deps-check deps-long deps-fresh deps-slurm deps-tidy demo train-demo study-demo check tests check-cores check-san check-clang check-long check-mutation check-matrix check-fresh check-slurm check-msan tidy tidied fuzz layers headers bench install uninstall format clean

define install_packages
	@missing=; for p in $(1); do \
	    [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	    echo "installing:$$missing"; as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
	    $$as_root apt-get update -qq && \
	    $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

deps:
	$(call install_packages,$(PACKAGES))
deps-check: deps
	$(call install_packages,$(CHECK_PACKAGES))
deps-long: deps
	$(call install_packages,$(LONG_PACKAGES))
deps-fresh:
	$(call install_packages,$(FRESH_PACKAGES))
deps-slurm: deps
	$(call install_packages,$(SLURM_PACKAGES))
deps-tidy: deps
	$(call install_packages,$(TIDY_PACKAGES))

# The compiler itself may be among the missing packages, so each promise installs first and builds in a second make.
check: deps
	@$(MAKE) --no-print-directory layers headers tests

tests: all $(TESTS)
	@DELTASCOPE=$(BUILD)/deltascope tests/run.sh $(TESTS)

# The tests whose numbers come from LAPACK: they have to hold whichever kernels OpenBLAS picks ("own": by itself).
NUMERIC = delta/test_operator delta/test_product measure/test_depth_mixing measure/test_determinism measure/test_distribution \
          measure/test_end_to_end measure/test_public_gradflow measure/test_public_spectrum measure/test_public_verification \
          measure/test_shadow measure/test_spectrum measure/test_weights model/test_tangent program/test_audit \
          program/test_claims program/test_cmd_bench program/test_check_inputs program/test_cmd_check program/test_cmd_spectrum \
          spectra/test_certify spectra/test_lanczos spectra/test_spectra verify/test_controls verify/test_random_models \
          verify/test_verify
NUMERIC_TESTS = $(NUMERIC:%=$(BUILD)/tests/%)
CORE_TYPES ?= own Haswell SkylakeX Prescott
check-cores: deps
	@$(MAKE) --no-print-directory all $(NUMERIC_TESTS)
	@DELTASCOPE=$(BUILD)/deltascope CORE_TYPES="$(CORE_TYPES)" tests/core_types.sh $(NUMERIC_TESTS)

SAN = BUILD=build-san OPT="-O1 -g -fno-omit-frame-pointer" HARDEN= SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all"
check-san: deps
	@ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 $(MAKE) --no-print-directory $(SAN) tests

check-clang: deps-check
	@$(MAKE) --no-print-directory CC=clang BUILD=build-clang all $(patsubst $(BUILD)/%,build-clang/%,$(TESTS))

check-long: deps-long
	@$(MAKE) --no-print-directory all $(LONG_TESTS)
	@for t in $(filter-out %/long_matrix,$(LONG_TESTS)); do echo "== $$(basename $$t)"; DELTASCOPE=$(BUILD)/deltascope $$t || exit 1; done
	@$(MAKE) --no-print-directory check-mutation
	@$(MAKE) --no-print-directory check-matrix
	@$(MAKE) --no-print-directory check-msan

check-fresh: deps-fresh
	@tests/fresh.sh

check-slurm: deps-slurm
	@$(MAKE) --no-print-directory all
	@tests/slurm.sh $(BUILD)

check-matrix: deps
	@$(MAKE) --no-print-directory $(SAN) all build-san/tests/program/long_matrix
	@UBSAN_OPTIONS=print_stacktrace=1 DELTASCOPE=build-san/deltascope build-san/tests/program/long_matrix

check-mutation: deps
	@tests/mutation.sh build-mutation

# MemorySanitizer over the readers alone: numerical libraries are not built with it, and do not take part.
MSAN_WRAPPED = malloc free realloc aligned_alloc json_loadb json_dumps json_object_set_new SHA256_Final pcre2_compile_8 pcre2_match_8 u8_normalize
MSAN_OBJECTS = $(foreach room,base io,$(patsubst %.c,$(BUILD)/%.o,$(wildcard src/$(room)/*.c))) \
               $(addprefix $(BUILD)/tests/,fuzz/msan_boundary.o fuzz/msan_readers.o support/relations.o)
$(BUILD)/msan-readers: $(MSAN_OBJECTS)
	$(Q)$(CC) $(LDFLAGS) $(addprefix -Wl$(,)--wrap=,$(MSAN_WRAPPED)) -o $@ $^ \
	    -ljansson -lcrypto -lz -lzip -lpcre2-8 -lunistring
check-msan: deps-check
	@$(MAKE) --no-print-directory BUILD=build-msan CC=clang OPT="-O1 -g -fno-omit-frame-pointer" HARDEN= \
	    SANITIZE="-fsanitize=memory -fsanitize-memory-track-origins" build-msan/msan-readers
	MSAN_OPTIONS=poison_in_malloc=0:poison_in_free=0 build-msan/msan-readers

# What clang-tidy is asked, and what not and why: .clang-tidy, tests/.clang-tidy. A file that has passed is not looked at again
# before it or a header changes; a *.real.c is looked at in both halves.
TIDY_SOURCES = $(PLAIN) $(if $(MPI),$(PLUGIN_SOURCE)) $(REAL:%.real.c=%.f32) $(REAL:%.real.c=%.f64) $(wildcard analysis/*/*.c tests/*/*.c)
TIDIED = $(patsubst %,build-tidy/%.passed,$(TIDY_SOURCES))
$(TIDIED): .clang-tidy
$(filter build-tidy/tests/%,$(TIDIED)): tests/.clang-tidy
-include $(shell find build-tidy -name '*.d' 2>/dev/null)
define look_over
	@mkdir -p $(@D)
	@said=$$(clang-tidy --quiet $< -- -std=c11 $(CPPFLAGS) $(1) 2>&1) || { printf '%s\n' "$$said"; exit 1; }
	@$(CC) -std=c11 $(CPPFLAGS) $(1) -MM -MP -MT $@ -MF $(@:.passed=.d) $<
	@touch $@
endef
build-tidy/$(PLUGIN_SOURCE).passed: CPPFLAGS += $(MPI_CFLAGS)
build-tidy/%.c.passed: %.c
	$(call look_over)
build-tidy/%.f32.passed: %.real.c
	$(call look_over,-DDS_REAL_BITS=32)
build-tidy/%.f64.passed: %.real.c
	$(call look_over,-DDS_REAL_BITS=64)
tidied: $(TIDIED)

# jobserver: `make -j tidy` has said how many already.
TIDY_MAKE = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
CPPCHECK = cppcheck -q -j$(shell nproc) --std=c11 --language=c --enable=warning,performance,portability --inline-suppr \
           --suppress=missingIncludeSystem --library=tests/cppcheck.cfg --error-exitcode=1
tidy: deps-tidy
	@echo '== clang-tidy'
	@$(TIDY_MAKE) -k -Otarget tidied
	@echo '== cppcheck'
	@$(CPPCHECK) -DDS_REAL_BITS=64 -D_GNU_SOURCE -Iinclude -Isrc src analysis tests
	@echo '== scan-build'
	@rm -rf build-scan
	@said=$$(scan-build --use-cc=clang --status-bugs -o build-scan/reports \
	    $(TIDY_MAKE) BUILD=build-scan OPT=-O1 CC=clang all 2>&1) || { printf '%s\n' "$$said" | grep -v '^  CC'; exit 1; }
	@echo 'nothing found'

SECONDS ?= 60
FUZZ_BUILD = BUILD=build-fuzz CC=clang OPT="-O1 -g -fno-omit-frame-pointer" HARDEN= \
             SANITIZE="-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all"
# New inputs are kept in build-fuzz/corpus, findings beside it; fixtures/fuzz holds what is committed.
fuzz: deps-check
	@$(MAKE) --no-print-directory $(FUZZ_BUILD) $(FUZZ:%=build-fuzz/fuzz/%)
	@for t in $(FUZZ); do mkdir -p build-fuzz/corpus/$$t build-fuzz/findings; echo "== $$t"; \
	    words=$$(ls tests/fuzz/$$t.dict 2>/dev/null | sed s/^/-dict=/); \
	    build-fuzz/fuzz/$$t $$words -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=build-fuzz/findings/$$t- build-fuzz/corpus/$$t fixtures/fuzz/$$t || exit 1; done

layers:
	@tests/layers.sh

# Each public header compiles alone, in C and in C++.
HEADERS = $(wildcard include/deltascope/*.h include/deltascope/measure/*.h)
headers:
	@for h in $(HEADERS); do \
	    $(CC) $(CPPFLAGS) -std=c11 $(WARNINGS) -fsyntax-only -x c $$h && \
	    { ! command -v $(CXX) >/dev/null || $(CXX) $(CPPFLAGS) -std=c++17 -Wall -Wextra -Werror -fsyntax-only -x c++ $$h; } || exit 1; done

bench: deps
	@$(MAKE) --no-print-directory all
	$(BUILD)/deltascope bench --size demo
	$(BUILD)/deltascope bench

demo: deps
	@$(MAKE) --no-print-directory all
	plots/demo.sh $(BUILD)/deltascope
# Token ids of the text in fixtures/ but for its last tenth, which is fixtures/data/val.bin.
build/data/train.bin: fixtures/data/tinyshakespeare.txt fixtures/data/meta.pkl | $(BUILD)/deltascope
	@mkdir -p $(@D)
	@head -c 1003854 $< >$@.txt && $(BUILD)/deltascope tokenize --text $@.txt --tokenizer fixtures/data/meta.pkl --output $@
	@rm $@.txt
study-demo: deps
	@$(MAKE) --no-print-directory all build/data/train.bin
	@rm -rf demo-study
	$(BUILD)/deltascope study fixtures/plans/demo.json --out demo-study
train-demo: deps
	@$(MAKE) --no-print-directory all build/data/train.bin
	plots/train_demo.sh $(BUILD)/deltascope build/data/train.bin

# Where things go and what puts them there, in GNU's words; a folder may hold spaces. DESTDIR stands in front of all when a package
# is made.
prefix        = $(PREFIX)
exec_prefix   = $(prefix)
bindir        = $(exec_prefix)/bin
libdir        = $(exec_prefix)/lib
includedir    = $(prefix)/include
datarootdir   = $(prefix)/share
mandir        = $(datarootdir)/man
pkgconfigdir  = $(libdir)/pkgconfig
bashcompdir   = $(datarootdir)/bash-completion/completions
zshcompdir    = $(datarootdir)/zsh/site-functions
fishcompdir   = $(datarootdir)/fish/vendor_completions.d
INSTALL         = install
INSTALL_PROGRAM = $(INSTALL) -m 755
INSTALL_DATA    = $(INSTALL) -m 644
PUBLIC        = $(patsubst include/deltascope/%,%,$(HEADERS) $(wildcard include/deltascope/*.inc))

# Folders below the prefix follow it where the whole is moved; they are quoted, since they may hold spaces. jansson is named because
# io.h includes its header.
below_prefix = $(subst |,,$(subst |$(prefix)/,$${prefix}/,|$(1)))
define PKGCONFIG
prefix=$(prefix)
libdir=$(call below_prefix,$(libdir))
includedir=$(call below_prefix,$(includedir))

Name: deltascope
Description: Spectral analysis and verification of Deep Delta Learning checkpoints
Version: $(VERSION)
Requires: jansson
Cflags: -I"$${includedir}"
Libs: -L"$${libdir}" -ldeltascope
Libs.private: $(LIBS) -pthread
endef

# What the program prints, by way of the build folder: the mode of an installed file does not depend on the umask.
install_printed = $(BUILD)/deltascope $(1) >$(BUILD)/printed && $(INSTALL_DATA) $(BUILD)/printed "$(DESTDIR)$(2)"

install: all
	$(INSTALL) -d "$(DESTDIR)$(bindir)" "$(DESTDIR)$(libdir)" "$(DESTDIR)$(includedir)/deltascope/measure" \
	    "$(DESTDIR)$(pkgconfigdir)" "$(DESTDIR)$(mandir)/man1" "$(DESTDIR)$(bashcompdir)" "$(DESTDIR)$(zshcompdir)" \
	    "$(DESTDIR)$(fishcompdir)"
	$(INSTALL_PROGRAM) $(BUILD)/deltascope "$(DESTDIR)$(bindir)/deltascope"
	$(INSTALL_DATA) $(BUILD)/libdeltascope.a "$(DESTDIR)$(libdir)/libdeltascope.a"
	$(INSTALL_PROGRAM) $(BUILD)/$(SHARED) "$(DESTDIR)$(libdir)/$(SHARED)"
	$(if $(PLUGIN),$(INSTALL_PROGRAM) $(PLUGIN) "$(DESTDIR)$(libdir)/deltascope-mpi.so")
	ln -sf $(SHARED) "$(DESTDIR)$(libdir)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(libdir)/libdeltascope.so"
	$(INSTALL_DATA) $(wildcard include/deltascope/*.h include/deltascope/*.inc) "$(DESTDIR)$(includedir)/deltascope"
	$(INSTALL_DATA) $(wildcard include/deltascope/measure/*.h) "$(DESTDIR)$(includedir)/deltascope/measure"
	$(file >$(BUILD)/deltascope.pc,$(PKGCONFIG))$(INSTALL_DATA) $(BUILD)/deltascope.pc "$(DESTDIR)$(pkgconfigdir)/deltascope.pc"
	$(call install_printed,man,$(mandir)/man1/deltascope.1)
	$(call install_printed,completion bash,$(bashcompdir)/deltascope)
	$(call install_printed,completion zsh,$(zshcompdir)/_deltascope)
	$(call install_printed,completion fish,$(fishcompdir)/deltascope.fish)

# Files that were installed, and folders of ours that hold nothing else.
uninstall:
	rm -f "$(DESTDIR)$(bindir)/deltascope" "$(DESTDIR)$(libdir)/libdeltascope.a" "$(DESTDIR)$(libdir)/$(SHARED)" \
	    "$(DESTDIR)$(libdir)/$(SONAME)" "$(DESTDIR)$(libdir)/libdeltascope.so" "$(DESTDIR)$(libdir)/deltascope-mpi.so" "$(DESTDIR)$(pkgconfigdir)/deltascope.pc" \
	    "$(DESTDIR)$(mandir)/man1/deltascope.1" "$(DESTDIR)$(bashcompdir)/deltascope" "$(DESTDIR)$(zshcompdir)/_deltascope" \
	    "$(DESTDIR)$(fishcompdir)/deltascope.fish"
	rm -f $(foreach header,$(PUBLIC),"$(DESTDIR)$(includedir)/deltascope/$(header)")
	for d in deltascope/measure deltascope; do \
	    [ ! -d "$(DESTDIR)$(includedir)/$$d" ] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(includedir)/$$d"; done

format:
	clang-format -i $(wildcard src/*/*.[ch] include/deltascope/*.h include/deltascope/measure/*.h analysis/*/*.[ch] tests/*/*.[ch])

.SECONDARY:
clean:
	rm -rf $(BUILD) build-san build-clang build-tidy build-scan demo demo-train demo-study
