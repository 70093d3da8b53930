#!/usr/bin/env bash
# Installs what a build needs (with "test": what the tests need too) and says how
# to get what it cannot install. Runs in a second when nothing is missing.
set -euo pipefail

purpose=${1:-build}
targets=(wasm32-wasip2 wasm32-wasip1)
rust_version=1.95

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

missing_packages() {
    command -v c++ >/dev/null || echo build-essential
    command -v pkg-config >/dev/null || echo pkg-config
    # bindgen loads libclang at build time, for RocksDB's headers.
    [ -n "${LIBCLANG_PATH:-}" ] || has_libclang || echo libclang-dev
    command -v curl >/dev/null || echo curl
    if [ "$purpose" = test ]; then
        command -v kubectl >/dev/null || echo kubernetes-client
        # script(1) gives tests a terminal.
        command -v script >/dev/null || echo bsdutils
    fi
}

# libclang.so or libclang-14.so.1, not libclang-cpp.so, which is something else.
has_libclang() {
    local pattern
    for pattern in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib; do
        compgen -G "$pattern/libclang.so*" >/dev/null && return
        compgen -G "$pattern/libclang-[0-9]*.so*" >/dev/null && return
    done
    return 1
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        fail "missing: ${missing[*]}. On Debian or Ubuntu: sudo apt-get install ${missing[*]}"
    fi
    echo "setup: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
}

check_rust() {
    command -v cargo >/dev/null || fail "missing: Rust ${rust_version} or newer. Install it with rustup."
    local version
    version=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$rust_version" "$version" | sort -V | head -1)" = "$rust_version" ] ||
        fail "Rust ${rust_version} or newer is needed, this is ${version}: rustup update"
}

install_targets() {
    command -v rustup >/dev/null || { check_targets_without_rustup; return; }
    local installed target
    installed=$(rustup target list --installed)
    for target in "${targets[@]}"; do
        grep -qx "$target" <<<"$installed" && continue
        echo "setup: installing the Rust target $target"
        rustup target add "$target" >/dev/null
    done
}

check_targets_without_rustup() {
    local target
    for target in "${targets[@]}"; do
        [ -d "$(rustc --print target-libdir --target "$target")" ] ||
            fail "missing: the Rust target $target. With rustup: rustup target add ${targets[*]}"
    done
}

# The tests compare with what kubectl prints, which older ones print otherwise.
warn_of_old_kubectl() {
    local minor
    minor=$(kubectl version --client -o yaml 2>/dev/null | sed -n 's/^ *minor: "\{0,1\}\([0-9]*\).*/\1/p' | head -1) || true
    [ "${minor:-99}" -ge 27 ] || echo "setup: kubectl 1.$minor is older than the tests expect (1.27 or newer); some will fail"
}

check_rust
install_packages
install_targets
[ "$purpose" != test ] || warn_of_old_kubectl
