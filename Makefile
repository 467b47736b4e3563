# The one front door for people and for CI. `make` lists what there is.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

# The binary is static: it runs in an empty image, and maps less. The target is named so that the flags do not reach build scripts.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
BINARY := $(CARGO_TARGET_DIR)/release/jobd
# SQLite without the search indexes that nothing here asks for, without a lock around each allocation for statistics, and with memory
# for pages taken when it is needed.
SQLITE := -USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 -USQLITE_ENABLE_RTREE \
	-USQLITE_ENABLE_MEMORY_MANAGEMENT -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_DEFAULT_PCACHE_INITSZ=0

.PHONY: build
build: ## Build the release binary: static and small
	LIBSQLITE3_FLAGS='$(SQLITE)' RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static' cargo build --release --package jobd --target $(HOST)
	install -D $(CARGO_TARGET_DIR)/$(HOST)/release/jobd $(BINARY)
	@ls -l $(BINARY)

.PHONY: image
image: build ## Build the container image from the static binary (`docker compose up` runs it)
	install -D $(BINARY) $(CARGO_TARGET_DIR)/image/jobd
	docker build --file daemon/Dockerfile --tag jobd:latest $(CARGO_TARGET_DIR)/image

.PHONY: test-image
test-image: prepare image ## The image under docker-compose, as its users run it (1.29, and v2 where it is installed)
	tests/image/run.sh

.PHONY: demo
demo: ## From a bare machine: engine, daemon, the digits of pi, everything stopped again
	tests/demo/run.sh

.PHONY: prepare
prepare: ## Make this machine ready for tests (an engine and local images; changes nothing where they are)
	tests/prepare/engine.sh

.PHONY: lint
lint: ## rustfmt and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

.PHONY: deny
deny: ## Licences, duplicates and sources of dependencies; advisories where their database can be had (needs cargo-deny)
	cargo deny check licenses bans sources
	@if cargo deny fetch db; then cargo deny check advisories; \
	else echo 'make deny: the advisory database cannot be fetched here; advisories were NOT checked' >&2; fi

.PHONY: test
test: prepare ## All tests, from the bare state
	cargo build --package jobd
	tests/run.sh

.PHONY: test-engines
test-engines: prepare ## The pod runner's and the crash tests on Docker 26.1 and 28.5 beside the default engine (Debian 12, root)
	cargo build --package jobd
	tests/prepare/test-engines.sh

.PHONY: rules
rules: ## Write RULES.md anew: which rule is proved by which test
	cargo run --quiet --package jobd-tests --bin rules

.PHONY: crash
crash: prepare ## The long crash test: 60 jobs while the daemon is killed at every failpoint
	cargo build --package jobd
	JOBD_CRASH_ROUNDS=3 cargo test --package jobd-tests --test crash -- --nocapture

SEEDS ?= 2000

.PHONY: simulate
simulate: ## The simulation for many seeds, from a random one on (SEEDS=2000; FROM=1)
	JOBD_SIM_SEEDS=$(SEEDS) JOBD_SIM_FROM=$(or $(FROM),$(shell date +%s)000) \
		cargo test --profile simulate --package jobd-tests --test simulation -- --nocapture every_seed_keeps_the_promises

.PHONY: bench
bench: prepare build ## The benchmark, beside the bare engine
	JOBD_BIN=$(BINARY) cargo run --profile simulate --package jobd-tests --bin bench

.PHONY: bench-short
bench-short: prepare build ## A short form of it that fails only far from the goals
	JOBD_BIN=$(BINARY) cargo run --profile simulate --package jobd-tests --bin bench -- --short
