# Every target does the set-up first: what is missing is installed, then built.
BUILD := cmake --build --preset
ARGS ?=

.PHONY: help setup daprd build run run-dapr test asan tsan fuzz soak bench image-test helm-test format lint clean

help:
	@echo "make run     install what is missing, build, run the demo (ARGS=\"--seconds 10\")"
	@echo "make run-dapr   the same through a Dapr sidecar (COMPONENTS=redis|jetstream, SPLIT=1)"
	@echo "make test    install what is missing, build, run all tests and each fuzz target for ten seconds"
	@echo "make build   the release binary at build/release/virtufin"
	@echo "make asan tsan   the tests under the sanitizers"
	@echo "make soak    50,000 frames a second for a minute"
	@echo "make bench   every benchmark beside its floor, also in build/bench.json"
	@echo "make image-test   the container image, built and run without a container engine"
	@echo "make helm-test    the Helm chart against helm, Kubernetes' schemas and the binary"
	@echo "make format lint   clang-format in place; clang-format and clang-tidy as CI runs them"

setup:
	@sh tools/setup.sh

# A real sidecar for the tests: the one on PATH, or built once and kept; without either (status 3) the
# tests that need it skip and say so.
daprd: | setup
	@sh tools/daprd.sh > /dev/null || [ $$? -eq 3 ]

# A preset is configured once; CMake re-runs itself when its files change.
build/%/build.ninja: CMakePresets.json | setup
	cmake --preset $*

build: build/release/build.ninja | setup
	$(BUILD) release

run: build
	@build/release/virtufin demo $(ARGS)

# The same on a real broker and store through a Dapr sidecar; COMPONENTS=jetstream, SPLIT=1 for three
# processes with a sidecar each.
COMPONENTS ?= redis
run-dapr: build | daprd
	@tools/run_dapr.py --components $(COMPONENTS) $(if $(SPLIT),--split) --binary build/release/virtufin $(ARGS)

test: build/dev/build.ninja build/fuzz/build.ninja | setup daprd
	$(BUILD) dev
	$(BUILD) fuzz
	ctest --test-dir build/dev --output-on-failure --no-tests=error -j 2
	ctest --test-dir build/fuzz --output-on-failure --no-tests=error -j 2

asan tsan: %: build/%/build.ninja | setup daprd
	$(BUILD) $@
	ctest --test-dir build/$@ --output-on-failure --no-tests=error -j 2

fuzz: build/fuzz/build.ninja | setup
	$(BUILD) fuzz
	ctest --test-dir build/fuzz --output-on-failure --no-tests=error -j 2

soak: build
	tests/e2e/soak.py build/release/virtufin

bench: build/bench/build.ninja | setup
	$(BUILD) bench
	bench/run.py build/bench --json build/bench.json $(ARGS)

# Both skip, and say what to install, where what they need is missing.
image-test: export PYTHONDONTWRITEBYTECODE = 1
image-test: setup
	cd tests/deploy && python3 -m unittest -v image_test

helm-test: export PYTHONDONTWRITEBYTECODE = 1
helm-test: export VIRTUFIN_BUILD = $(CURDIR)/build/release
helm-test: build
	cd tests/deploy && python3 -m unittest -v chart_test

format: setup
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

lint: build/dev/build.ninja | setup
	tools/lint.sh

clean:
	rm -rf build
