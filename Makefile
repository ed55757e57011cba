# Every verb of the project. Each target works by hand, on a fresh Debian 12 with Rust, Go, JDKs, Maven, Node and Python.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(SIDEFLAME_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sideflame)
# Runtimes and reference tools. What only some targets need, they name themselves.
COMPONENTS := async-profiler jattach dotnet-3.1 dotnet-8 dotnet-10 flamegraph speedscope openapi-schema axe-core
ASYNC_PROFILER := $(CACHE)/async-profiler/linux-x64/libasyncProfiler.so

# Says what a step does and how long it took; `make test` ends with a table of them.
timed = @echo "== $@: $(1)"; start=$$SECONDS; $(1); took=$$((SECONDS - start)); echo "== $@: $$took s"; \
	mkdir -p target; echo "$(RUN) $$took $@: $(1)" >>target/steps
# The outermost make, whose steps these are.
ifndef RUN
export RUN := $(shell echo $$PPID)
endif

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# Before anything calls cargo. Silent when all is there.
.PHONY: toolchain
toolchain:
	@tests/rig/toolchain.sh

# What takes longest on a fresh machine, begun first.
.PHONY: ahead
ahead: toolchain
	@tests/rig/components.sh --ahead $$PPID kube helm cargo-cyclonedx

.PHONY: components
components: toolchain ## Install the pinned components that tests and demo use, into the cache
	$(call timed,tests/rig/components.sh $(COMPONENTS))

.PHONY: apps
apps: components ## Build the sample apps
	$(call timed,tests/apps/build.sh $(APPS))

.PHONY: build
build: toolchain ## Build the release binaries, with async-profiler beside the sidecar's
	$(call timed,cargo build --release --locked $(CRATES))
	@tests/rig/components.sh async-profiler
	@install -m 0755 $(ASYNC_PROFILER) target/release/

.PHONY: images
images: toolchain ## Build the images for amd64 and arm64, with digests and bills of materials
	$(call timed,images/build.sh amd64 arm64)

.PHONY: cluster-up
cluster-up: apps ## Start a real single-node Kubernetes here, with our images and the chart installed
	$(call timed,tests/rig/components.sh helm kube)
	$(call timed,images/build.sh amd64)
	$(call timed,tests/rig/cluster.sh up)
	$(call timed,tests/rig/install.sh)

.PHONY: cluster-down
cluster-down: ## Stop it and remove every trace of it
	$(call timed,tests/rig/cluster.sh down)

# Only what it starts.
.PHONY: demo
demo: CRATES := --package sideflame
demo: COMPONENTS := async-profiler dotnet-3.1
demo: APPS := java-17 dotnet go c
demo: build apps ## Start sample apps, capture a flame graph of each, print where to look
	@tests/rig/demo.sh

# Of the whole workspace, as everything else: another selection is another set of features, and compiled anew.
export UNIT := $(basename $(notdir $(wildcard sidecar/tests/*.rs webhook/tests/*.rs tests/fuzz/tests/*.rs))) arrows inject_contract rig

.PHONY: unit
unit: toolchain ## Run the tests that need neither root nor network nor components
	$(call timed,cargo test --locked --workspace --no-fail-fast --lib --bins $(addprefix --test ,$(UNIT)))

.PHONY: test
test: ahead unit apps ## Run the unit tests, the live tests against real runtimes, and those on a real Kubernetes
	$(call timed,cargo build --locked --workspace --all-targets)
	$(call timed,tests/rig/test.sh)

# TARGETS=… of tests/fuzz/src for some of them, KEEP=1 to add what reaches new code to their corpora.
.PHONY: fuzz
fuzz: toolchain ## Feed every parser what libFuzzer makes, SECONDS=60 of CPU time each
	$(call timed,tests/rig/fuzz.sh $(or $(SECONDS),60) $(TARGETS))

# The sidecar as the images have it; ring needs a compiler that knows musl.
STATIC := target/x86_64-unknown-linux-musl/release
.PHONY: static
static: export CC_x86_64_unknown_linux_musl := musl-gcc
static: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER := cc
static: toolchain
	@tests/rig/packages.sh musl-tools
	$(call timed,cargo build --release --locked --package sideflame --target x86_64-unknown-linux-musl)
	@tests/rig/components.sh async-profiler
	@install -m 0755 $(ASYNC_PROFILER) $(STATIC)/

# CAPTURES=… for another number.
.PHONY: soak
soak: COMPONENTS := async-profiler dotnet-3.1
soak: APPS := java-17 dotnet go
soak: static apps ## Take 10,000 captures of a JVM, a .NET and Go apps, then 50 clients for 5 minutes; memory and descriptors must come back
	$(call timed,tests/rig/soak.sh)
	@cargo build --locked --workspace --bins
	$(call timed,SIDEFLAME_LOAD_SECONDS=300 cargo test --locked --workspace --test many_clients)

.PHONY: bench
bench: COMPONENTS += jfr-converter
bench: build static apps ## Measure against named peers, as ratios
	@tests/rig/bench.sh
	@tests/rig/bench_dotnet.sh
	@tests/rig/bench_native.sh
	@tests/rig/bench_page.sh
	@tests/rig/soak.sh
	@tests/rig/bench_webhook.sh
	@$(MAKE) --no-print-directory cluster-up
	@status=0; tests/rig/bench_cluster.sh || status=$$?; [[ -n $${KEEP_CLUSTER-} ]] || tests/rig/cluster.sh down; exit $$status

.PHONY: lint
lint: toolchain ## Check format, lints, documentation, licences and sources
	cargo fmt --all --check
	$(call timed,cargo clippy --locked --workspace --all-targets -- -D warnings)
	$(call timed,RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet)
	$(call timed,tests/rig/components.sh cargo-deny)
	$(CACHE)/cargo-deny/bin/cargo-deny --locked check bans licenses sources
	charts/readme.mjs --check

.PHONY: fmt
fmt: toolchain ## Format the code, write the chart's table of values
	cargo fmt --all
	charts/readme.mjs
