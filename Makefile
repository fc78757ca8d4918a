# make            the library and the C examples
# make demo       the model answers in your terminal
# make test       all tests
# make help       the rest
SWIFT ?= swift
PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
# The checkpoint of the examples and the demo.
MODEL ?= examples/models/tiny-2.1
BENCH ?= $(MODEL)

BUILD := .build
LIB := $(BUILD)/release/libllada.so
C_EXAMPLES := $(patsubst examples/c/%.c,$(BUILD)/examples/%,$(wildcard examples/c/*.c))
CFLAGS ?= -O2
C_WARNINGS := -Wall -Wextra -Wpedantic -Wconversion

version_of = $(shell sed -n 's/^\#define LLADA_VERSION_$(1) \([0-9]*\)$$/\1/p' include/llada.h)
MAJOR := $(call version_of,MAJOR)
MINOR := $(call version_of,MINOR)
VERSION := $(MAJOR).$(MINOR).$(call version_of,PATCH)

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: build lib tools demo demo-packages lint lint-packages format test test-packages test-lint test-swift \
        test-aarch64 test-abi test-install test-python test-docs test-corpus test-faults test-oom test-asan test-tsan \
        test-valgrind test-browser test-serve test-ray test-lm-eval test-notebook test-cluster test-reproducible \
        soak soak-tsan coverage testing-figures fuzz fuzz-run fuzz-minimise fuzz-coverage gallery install bench docs \
        dist clean help

help:
	@echo 'build         libllada.so and the C examples (the default); lib, the library alone'
	@echo 'demo          builds, then lets the model answer in the terminal; MODEL=folder for another one'
	@echo 'bench         the benchmark; BENCH="MODEL --threads 2"'
	@echo 'docs          a site of all documents and references, in $(BUILD)/docs'
	@echo 'install       PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'dist          what a release is, into dist/: sdist, wheel, source archive, checksums'
	@echo 'gallery       the pictures of the README'
	@echo
	@echo 'lint          layout, common mistakes, types, arrows, links; format sets the layout right'
	@echo 'test          all tests, each kind alone as test-KIND:'
	@echo '    lint      violations that lint must see'
	@echo '    swift     the engine, room by room'
	@echo '    abi       the library, from C'
	@echo '    aarch64   the kernels of the other processor, under an emulator'
	@echo '    install   make install, and programs outside against what it put there'
	@echo '    python    the package and the examples'
	@echo '    docs      the code blocks of the documents'
	@echo '    corpus    the inputs that fuzzing has kept'
	@echo 'test-asan     the C tests, the corpus and the library under AddressSanitizer; test-tsan, the C tests under'
	@echo '              ThreadSanitizer'
	@echo 'test-faults   saving and opening while the system fails, at every system call; kills, and 2,000 forks'
	@echo "test-oom      the library while allocations fail, the first, the second, and so on; SERIES='open GGUF' for one"
	@echo 'test-cluster  one model over several processes, under mpiexec: the same bits, and ranks that die'
	@echo 'test-valgrind  some of the C tests and the C examples under valgrind'
	@echo 'test-reproducible  two clean builds in different folders are equal, byte for byte'
	@echo 'soak          eight threads at random work for SECONDS=$(SECONDS); soak-tsan, under ThreadSanitizer'
	@echo 'coverage      lines and branches of the library that tests reach; testing-figures, docs/testing.md anew'
	@echo 'fuzz          builds the fuzz targets; fuzz-run SECONDS=600 [TARGET=gguf] runs them, fuzz-minimise keeps what'
	@echo '              they found to reach more, fuzz-coverage says which lines of its loader each of them reaches'
	@echo 'test-browser  the playground, and the page of a trace, in a real browser without a screen (installs chromium)'
	@echo 'test-serve    the server under load for SECONDS=$(SECONDS): 64 clients that read slowly, go away, send nonsense'
	@echo 'test-ray      many prompts over a Ray cluster of two nodes on this machine'
	@echo 'test-lm-eval  benchmarks by lm-evaluation-harness, with tasks of our own and no network; test-notebook, the'
	@echo '              notebooks of examples/'
	@echo
	@echo 'clean         forgets everything built'

tools:
	@command -v $(SWIFT) >/dev/null || { \
	    echo 'Swift 6.1 or newer is needed and there is no `$(SWIFT)` in PATH.'; \
	    echo 'Install a toolchain as its project describes for your system, put its usr/bin into PATH, and come back;'; \
	    echo 'or say where it is:  make SWIFT=/where/it/is/usr/bin/swift'; exit 1; } >&2
	@command -v $(firstword $(CC)) >/dev/null || .ci/packages 'gcc: compiles C' 'libc6-dev: compiles C'

# SwiftPM knows best what is out of date. It names the library without a version; the loader asks for its SONAME.
lib: tools
	@$(SWIFT) build -c release --product llada
	@ln -sf libllada.so $(LIB).$(MAJOR)

build: lib $(C_EXAMPLES)

$(BUILD)/examples/%: examples/c/%.c include/llada.h | lib
	@mkdir -p $(@D)
	$(CC) -std=c99 $(CFLAGS) $(C_WARNINGS) -Iinclude $(if $(MODEL),-DEXAMPLE_MODEL='"$(MODEL)"') $< -o $@ \
	    -L$(BUILD)/release -lllada -Wl,-rpath,'$$ORIGIN/../release'

# ---- Demo

demo-packages:
	@.ci/packages '?libopenblas-dev: is used for matrix products where no kernel of ours fits the processor' \
	    '?libnuma-dev: spreads weights over the nodes of large machines' '?python3-dev: builds Python packages'

demo: demo-packages
	@$(MAKE) --no-print-directory build
	@examples/demo.sh "$(MODEL)"

# ---- Python's environments, each of what .ci says it needs

VENV := $(BUILD)/test-venv
LINT_VENV := $(BUILD)/lint-venv
DIST_VENV := $(BUILD)/dist-venv
DOCS_VENV := $(BUILD)/docs-venv
VENV_PACKAGE = $(shell $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || echo 'python3-venv: makes environments')

$(BUILD)/%-venv/ready: .ci/%-requirements.txt
	@$(if $(VENV_PACKAGE),.ci/packages '$(VENV_PACKAGE)')
	@echo 'creating $(@D), of: $(shell cat $<)'
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --requirement $<
	@touch $@

# ---- Layout and mistakes

lint-packages: tools
	@.ci/packages 'shellcheck: looks through shell scripts'

lint: lint-packages $(LINT_VENV)/ready
	@.ci/lint

format: tools $(LINT_VENV)/ready
	@git ls-files '*.swift' | xargs $(SWIFT) format --in-place --parallel
	@git ls-files '*.c' '*.h' '*.inc' | xargs $(LINT_VENV)/bin/clang-format -i
	@git ls-files '*.py' | xargs $(LINT_VENV)/bin/ruff format --quiet

# ---- Tests

TEST_SUITES ?= lint swift abi aarch64 install python docs corpus
# More suites, asan say.
ALSO ?=

test: test-packages
	@Tests/run.sh $(TEST_SUITES) $(ALSO)

# All that any of them needs, at once and before the first.
test-packages: tools
	@.ci/packages '?libopenblas-dev: is what our matrix products are compared with' \
	    'cmake: builds programs against what is installed' 'pkg-config: builds programs against what is installed' \
	    'gcc-aarch64-linux-gnu: compiles the kernels for aarch64' \
        'qemu-user: runs them' 'shellcheck: looks through shell scripts' \
	    $(if $(VENV_PACKAGE),'$(VENV_PACKAGE)')
	@for kind in test lint; do \
	    [ -e $(BUILD)/$$kind-venv/ready ] || \
	        echo "Python packages, into $(BUILD)/$$kind-venv:" $$(cat .ci/$$kind-requirements.txt); done

test-lint: $(VENV)/ready $(LINT_VENV)/ready
	@$(VENV)/bin/python -m pytest -q Tests/lint

# A scratch folder of its own: tests build with other flags, and sharing one would build everything anew each time.
test-swift: tools
	@$(SWIFT) test -c release --disable-xctest --scratch-path $(BUILD)/tests

# Other processors' kernels, under an emulator.
test-aarch64: tools
	@.ci/packages 'gcc-aarch64-linux-gnu: compiles the kernels for aarch64' \
        'qemu-user: runs them'
	@Tests/c/aarch64.sh

test-abi: lib
	@Tests/c/run.sh

test-install: build
	@Tests/c/install.sh

test-python: lib $(VENV)/ready
	@PYTHONPATH=bindings/python $(VENV)/bin/python -m pytest -q Tests/python

test-docs: lib $(VENV)/ready
	@$(VENV)/bin/python -m pytest -q Tests/docs

# The fuzz targets without a fuzzer, on the library as it is shipped.
test-corpus: lib $(VENV)/ready
	@PYTHON=$(VENV)/bin/python Tests/fuzz/fuzz.sh replay

# Saving, opening and restoring while the system fails, or the process is killed, at each system call; forks.
test-faults: lib $(VENV)/ready
	@$(CC) -shared -fPIC -O1 $(C_WARNINGS) Tests/faults/shim.c -o $(BUILD)/faults.so -ldl
	@LD_PRELOAD=$(BUILD)/faults.so PYTHONPATH=bindings/python:Tests/python \
	    $(VENV)/bin/python -m pytest -q -p no:cacheprovider Tests/faults
	@FORKS=2000 Tests/c/run.sh --only fork

# Not part of `test`: it takes minutes.
test-reproducible: tools
	@Tests/c/reproducible.sh

# The library as it is shipped, while the n-th allocation fails, or it and all after it. A few n are part of test-abi.
OOM := $(BUILD)/oom
test-oom: lib $(VENV)/ready
	@PYTHONPATH=bindings/python:Tests/python:Tests/oom $(VENV)/bin/python Tests/oom/files.py $(OOM)
	@$(CC) -std=c11 -O1 -g $(C_WARNINGS) -Wno-missing-field-initializers -Iinclude -ITests/c \
	    Tests/oom/*.c Tests/c/harness.c -o $(OOM)/oom -L$(BUILD)/release -lllada -Wl,-rpath,'$$ORIGIN/../release' \
	    -ldl -pthread
	@OOM_GGUF=$(OOM)/model.gguf OOM_WIDE=$(OOM)/wide $(OOM)/oom $(if $(SERIES),'$(SERIES)')

# Not part of `test`: a browser is a large thing to install.
test-browser: lib $(BUILD)/browser-venv/ready
	@.ci/packages 'chromium: shows the pages'
	@PYTHONPATH=bindings/python $(BUILD)/browser-venv/bin/python -m pytest -q -p no:cacheprovider Tests/browser

# Not part of `test`: it takes minutes.
test-serve: lib $(VENV)/ready
	@$(VENV)/bin/python Tests/serve/load.py $(SECONDS)

# Not part of `test`: so is Ray.
RAY_VENV := $(BUILD)/ray-venv
test-ray: lib $(RAY_VENV)/ready
	@$(RAY_VENV)/bin/python -m pytest -q -p no:cacheprovider Tests/ray

# Nor this: the harness and what it needs are 200 MB.
test-lm-eval: lib $(BUILD)/lm-eval-venv/ready
	@HF_HOME=$(CURDIR)/$(BUILD)/lm-eval-cache \
	    $(BUILD)/lm-eval-venv/bin/python -m pytest -q -p no:cacheprovider Tests/harness

test-notebook: lib $(BUILD)/notebook-venv/ready
	@$(BUILD)/notebook-venv/bin/python -m pytest -q -p no:cacheprovider Tests/notebook

# Not part of `test`: it starts some two hundred processes.
test-cluster: lib $(BUILD)/cluster-venv/ready
	@PYTHONPATH=bindings/python:Tests/python $(BUILD)/cluster-venv/bin/python -m pytest -q -p no:cacheprovider \
	    Tests/cluster

gallery: lib $(VENV)/ready
	@PYTHONPATH=bindings/python PYTHON=$(VENV)/bin/python examples/gallery/make.sh

# The whole library instrumented, in a program that is, too. Both need the same runtime: the compiler is Swift's clang.
test-asan: SANITIZER := address
test-tsan: SANITIZER := thread
soak-tsan: SANITIZER := thread
soak-tsan: export SOAK_SECONDS = $(SECONDS)
test-asan: $(VENV)/ready
test-asan test-tsan soak-tsan: tools
	@LLADA_SANITIZE=$(SANITIZER) $(SWIFT) build -c release --sanitize=$(SANITIZER) --product llada \
	    --scratch-path $(BUILD)/$(SANITIZER)
	@ln -sf libllada.so $(BUILD)/$(SANITIZER)/release/libllada.so.$(MAJOR)
	@Tests/c/run.sh --sanitize=$(SANITIZER) $(BUILD)/$(SANITIZER)/release
	@[ $(SANITIZER) != address ] || \
	    PYTHON=$(VENV)/bin/python Tests/fuzz/fuzz.sh replay --sanitize=address $(BUILD)/address/release

# Eight threads at random work on one model, SECONDS long.
SECONDS ?= 600
soak: lib
	@SOAK_SECONDS=$(SECONDS) Tests/c/run.sh

# Which lines and branches of the library the tests from C and from Python reach.
coverage: lib $(VENV)/ready
	@SWIFT=$(SWIFT) Tests/coverage.sh $(VENV)/bin/python

# The figures in docs/testing.md, counted again.
testing-figures:
	@$(PYTHON) .ci/testing_figures.py

test-valgrind: build
	@.ci/packages 'valgrind: finds uses of bytes that nothing has set, and of memory that was given back'
	@for example in $(filter-out %/cluster %/worker,$(C_EXAMPLES)); do echo "$$example"; \
	    valgrind --quiet --error-exitcode=99 $$example </dev/null >/dev/null || exit 1; done
	@Tests/c/run.sh --valgrind

# ---- Fuzzing (CONTRIBUTING.md)

# Instrumented for libFuzzer, with AddressSanitizer; all checks are on, as in any release build of ours.
COUNTERS := edge,pc-table,inline-8bit-counters,trace-cmp,indirect-calls
fuzz: tools
	@LLADA_SANITIZE=fuzzer $(SWIFT) build -c release --product llada --scratch-path $(BUILD)/fuzz \
	    --sanitize=address -Xswiftc -sanitize-coverage=$(COUNTERS) -Xcc -fsanitize-coverage=$(COUNTERS)
	@ln -sf libllada.so $(BUILD)/fuzz/release/libllada.so.$(MAJOR)
	@Tests/fuzz/fuzz.sh build

fuzz-run: fuzz $(VENV)/ready
	@PYTHON=$(VENV)/bin/python Tests/fuzz/fuzz.sh run $(SECONDS) $(TARGET)

fuzz-minimise: fuzz $(VENV)/ready
	@PYTHON=$(VENV)/bin/python Tests/fuzz/fuzz.sh minimise $(TARGET)

fuzz-coverage: tools
	@LLADA_SANITIZE=coverage $(SWIFT) build -c release --product llada --scratch-path $(BUILD)/coverage \
	    -Xswiftc -profile-generate -Xswiftc -profile-coverage-mapping \
	    -Xcc -fprofile-instr-generate -Xcc -fcoverage-mapping
	@ln -sf libllada.so $(BUILD)/coverage/release/libllada.so.$(MAJOR)
	@PYTHON=$(PYTHON) Tests/fuzz/fuzz.sh coverage $(TARGET)

# BENCH="MODEL --prefix 512 --threads 2", and what llada-bench says of itself
bench: tools
	@$(SWIFT) run -c release llada-bench $(or $(BENCH),$(MODEL))

# ---- Documents

docs: lib $(DOCS_VENV)/ready
	@SWIFT=$(SWIFT) docs/site/build.sh $(DOCS_VENV)

# ---- Installation

# Built only if it is not there: `sudo make install` need not know Swift.
$(LIB):
	@$(MAKE) --no-print-directory lib

AT := $(DESTDIR)$(PREFIX)
FILL_IN := sed -e 's/@VERSION@/$(VERSION)/g' -e 's/@MAJOR@/$(MAJOR)/g' -e 's/@MINOR@/$(MINOR)/g'

install: $(LIB)
	@install -d '$(AT)/include' '$(AT)/lib/pkgconfig' '$(AT)/lib/cmake/llada'
	@install -m 644 include/llada.h '$(AT)/include/llada.h'
	@install -m 755 -s $(LIB) '$(AT)/lib/libllada.so.$(VERSION)'
	@ln -sf libllada.so.$(VERSION) '$(AT)/lib/libllada.so.$(MAJOR)'
	@ln -sf libllada.so.$(MAJOR) '$(AT)/lib/libllada.so'
	@$(FILL_IN) bindings/c/llada.pc.in >'$(AT)/lib/pkgconfig/llada.pc'
	@$(FILL_IN) bindings/c/lladaConfig.cmake.in >'$(AT)/lib/cmake/llada/lladaConfig.cmake'
	@$(FILL_IN) bindings/c/lladaConfigVersion.cmake.in >'$(AT)/lib/cmake/llada/lladaConfigVersion.cmake'
	@echo 'llada $(VERSION) is in $(AT)'

# ---- A release

dist: tools $(DIST_VENV)/ready
	@.ci/dist $(VERSION) $(DIST_VENV)/bin

clean:
	rm -rf $(BUILD) dist
