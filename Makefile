# The commands a newcomer needs; `make help` lists them. CMakePresets.json has the same builds for those who use CMake directly.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: help setup build demo test test-asan bench format lint install clean

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
CMAKE_ARGS ?=
# A precompiled header holds absolute paths, so clones do not share one.
export CCACHE_BASEDIR :=
export CCACHE_HASHDIR := 1
export CMAKE_GENERATOR ?= $(if $(shell command -v ninja),Ninja,Unix Makefiles)

sources = $(shell git ls-files '*.h' '*.cpp')

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing: Debian packages, libtorch (into .deps/)
	@tools/setup.sh

build: setup ## build everything into build/: bin/backplane, plugins/, lib/
	@echo "build: configuring and compiling into build/ with $(JOBS) jobs (minutes the first time, seconds afterwards)"
	@cmake --preset release --log-level=NOTICE $(CMAKE_ARGS)
	@cmake --build build --parallel $(JOBS)

demo: build ## sentence embeddings and a chat, on two real models
	@tools/fetch_demo_models.sh
	@tools/demo.sh

test: build test-asan ## all tests: with sanitizers what needs no libtorch, then everything
	@tools/fetch_demo_models.sh || echo "test: the tests on real models are skipped"
	@echo "test: the whole suite"
	@ctest --test-dir build --output-on-failure --parallel $(JOBS)

test-asan: setup
	@echo "test: building the libraries that need no libtorch with AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/"
	@cmake --preset asan --log-level=NOTICE $(CMAKE_ARGS)
	@cmake --build build-asan --parallel $(JOBS)
	@ctest --test-dir build-asan --output-on-failure --parallel $(JOBS)

bench: build ## measure against transformers and onnxruntime, and write docs/measurements.md
	@tools/fetch_demo_models.sh
	@bench/run.sh

format: ## rewrite the sources in the house style
	@tools/setup.sh lint
	@clang-format-14 -i $(sources)

lint: build ## check the style, the direction of includes, and clang-tidy's findings
	@tools/setup.sh lint
	@tools/lint.sh

install: build ## install under PREFIX (/usr/local), below DESTDIR if set
	@DESTDIR="$(DESTDIR)" cmake --install build --prefix "$(PREFIX)"

clean: ## remove the builds; keep .deps/ and .models/
	@rm -rf build build-asan build-dev
