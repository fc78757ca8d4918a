# make            the library and the C examples
# make demo       the model answers in your terminal
# make test       all tests: Swift, C, Python
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
VERSION := $(MAJOR).$(call version_of,MINOR).$(call version_of,PATCH)

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: build lib tools demo demo-packages test test-packages test-swift test-aarch64 test-abi test-install test-python test-asan test-tsan \
        test-browser gallery install bench clean help

help:
	@echo 'build     libllada.so and the C examples (the default)'
	@echo 'demo      build, then let the model answer in the terminal; MODEL=folder for another one'
	@echo 'test      all tests; test-swift, test-abi, test-aarch64, test-install, test-python for one kind'
	@echo 'test-asan the C tests and the library under AddressSanitizer; test-tsan, under ThreadSanitizer'
	@echo 'test-browser  the page of a trace in a real browser, without a screen (installs chromium)'
	@echo 'gallery   the pictures of the README'
	@echo 'install   PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'bench     the benchmark'
	@echo 'clean     forget everything built'

tools:
	@command -v $(SWIFT) >/dev/null || { \
	    echo 'Swift 6.1 or newer is needed and there is no `$(SWIFT)` in PATH.'; \
	    echo 'Install a toolchain as its project describes for your system, put its usr/bin into PATH, and come back;'; \
	    echo 'or say where it is:  make SWIFT=/where/it/is/usr/bin/swift'; exit 1; } >&2
	@command -v $(firstword $(CC)) >/dev/null || .ci/packages gcc libc6-dev

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
	@.ci/packages --optional 'OpenBLAS and libnuma are used where present, the headers build Python packages' \
	    libopenblas-dev libnuma-dev python3-dev

demo: demo-packages
	@$(MAKE) --no-print-directory build
	@examples/demo.sh "$(MODEL)"

# ---- Tests

TEST_SUITES ?= swift abi aarch64 install python

test: test-packages
	@Tests/run.sh $(TEST_SUITES)

test-packages: tools
	@.ci/packages --optional 'OpenBLAS is the judge of our kernels' libopenblas-dev
	@command -v cmake >/dev/null && command -v pkg-config >/dev/null || .ci/packages cmake pkg-config
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/packages python3-venv

# A scratch folder of its own: tests build with other flags, and sharing one would build everything anew each time.
test-swift: tools
	@$(SWIFT) test -c release --disable-xctest --scratch-path $(BUILD)/tests

# Other processors' kernels cannot run here; that they compile can be seen.
test-aarch64: tools
	@.ci/packages libc6-dev-arm64-cross
	@Tests/abi/aarch64.sh

test-abi: lib
	@Tests/abi/run.sh

test-install: build
	@Tests/abi/install.sh

VENV := $(BUILD)/venv

$(VENV)/ready: Makefile
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || .ci/packages python3-venv
	@echo 'creating $(VENV)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/pip install --quiet numpy pytest tokenizers matplotlib
	@touch $@

test-python: lib $(VENV)/ready
	@PYTHONPATH=bindings/python $(VENV)/bin/python -m pytest -q Tests/python

# Not part of `test`: a browser is a large thing to install.
test-browser: lib $(VENV)/ready
	@command -v chromium >/dev/null || .ci/packages chromium
	@PYTHONPATH=bindings/python $(VENV)/bin/python -m pytest -q Tests/browser

gallery: lib $(VENV)/ready
	@PYTHONPATH=bindings/python PYTHON=$(VENV)/bin/python examples/gallery/make.sh

# The whole library instrumented, in a program that is, too. Both need the same runtime: the compiler is Swift's clang.
test-asan: SANITIZER := address
test-tsan: SANITIZER := thread
test-asan test-tsan: tools
	@LLADA_SANITIZE=$(SANITIZER) $(SWIFT) build -c release --sanitize=$(SANITIZER) --scratch-path $(BUILD)/$(@:test-%=%) --product llada
	@ln -sf libllada.so $(BUILD)/$(@:test-%=%)/release/libllada.so.$(MAJOR)
	@Tests/abi/run.sh --sanitize=$(SANITIZER) $(BUILD)/$(@:test-%=%)/release

# BENCH="MODEL --prefix 512 --threads 2", and what llada-bench says of itself
bench: tools
	@$(SWIFT) run -c release llada-bench $(or $(BENCH),$(MODEL))

# ---- Installation

# Built only if it is not there: `sudo make install` need not know Swift.
$(LIB):
	@$(MAKE) --no-print-directory lib

AT := $(DESTDIR)$(PREFIX)
FILL_IN := sed -e 's/@VERSION@/$(VERSION)/g' -e 's/@MAJOR@/$(MAJOR)/g'

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

clean:
	rm -rf $(BUILD)
