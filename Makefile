# Names for commands; the work is in scripts/ and in cargo.

# Outside the checkout and kept between runs: a clean build takes about half an
# hour on two cores, most of it RocksDB and wasmtime.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wk/target
WK := $(CARGO_TARGET_DIR)/debug/wk

.PHONY: help demo test setup build ci fmt clippy doc bench clean-demo

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## set up, build, and show the main job
	@scripts/demo.sh "$(WK)" "$(CARGO_TARGET_DIR)"

test: ## set up, build, and run all tests
	@scripts/setup.sh test
	@scripts/announce.sh
	cargo test --workspace --no-fail-fast

setup: ## install what is missing
	@scripts/setup.sh

build: setup ## build the binary and the guests
	@scripts/announce.sh
	cargo build --bin wk --package wk --package wk-guests

ci: setup fmt clippy doc test ## everything CI checks

fmt: ## check the formatting
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path guests/Cargo.toml

clippy: ## check the lints
	cargo clippy --workspace --all-targets -- -D warnings

doc: ## check the documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

bench: build ## print the benchmarks' numbers
	cargo bench --package wk --profile dev
