# Every verb of the project. Each target works by hand, on a fresh Debian 12 with Rust, Go, JDKs, Maven and Node.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(SIDEFLAME_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sideflame)
# Runtimes and reference tools. What only some targets need, they name themselves.
COMPONENTS := async-profiler jattach dotnet-3.1 dotnet-8 dotnet-10 flamegraph speedscope-schema
ASYNC_PROFILER := $(CACHE)/async-profiler/linux-x64/libasyncProfiler.so

# Prints how long a step took: the slow ones should be visible.
timed = @start=$$SECONDS; $(1); echo "== $@: $$((SECONDS - start)) s"

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.PHONY: components
components: ## Install the pinned components that tests and demo use, into the cache
	$(call timed,tests/rig/components.sh $(COMPONENTS))

.PHONY: apps
apps: components ## Build the sample apps
	$(call timed,tests/apps/build.sh)

.PHONY: build
build: ## Build the release binary, with async-profiler beside it
	$(call timed,cargo build --release --locked)
	@tests/rig/components.sh async-profiler
	@install -m 0755 $(ASYNC_PROFILER) target/release/

.PHONY: images
images: ## Build the images for amd64 and arm64, with digests and bills of materials
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

.PHONY: demo
demo: build apps ## Start sample apps, capture a flame graph of each, print where to look
	@tests/rig/demo.sh

.PHONY: test
test: apps ## Run the unit tests, the live tests against real runtimes, and those on a real Kubernetes
	$(call timed,cargo build --locked --workspace --all-targets)
	$(call timed,tests/rig/test.sh)

.PHONY: bench
bench: build apps ## Measure against named peers, as ratios
	@tests/rig/bench.sh
	@tests/rig/bench_webhook.sh
	@$(MAKE) --no-print-directory cluster-up
	@status=0; tests/rig/bench_cluster.sh || status=$$?; [[ -n $${KEEP_CLUSTER-} ]] || tests/rig/cluster.sh down; exit $$status

.PHONY: lint
lint: ## Check format, lints, documentation, licences and sources
	cargo fmt --all --check
	$(call timed,cargo clippy --locked --workspace --all-targets -- -D warnings)
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	@tests/rig/components.sh cargo-deny
	$(CACHE)/cargo-deny/bin/cargo-deny --locked check bans licenses sources
	charts/readme.mjs --check

.PHONY: fmt
fmt: ## Format the code, write the chart's table of values
	cargo fmt --all
	charts/readme.mjs
