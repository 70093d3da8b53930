#!/usr/bin/env bash
# Says how long the build that follows takes, when it takes long.
set -euo pipefail

if ! ls "${CARGO_TARGET_DIR:?}"/debug/build/librocksdb-sys-*/out/librocksdb.a >/dev/null 2>&1; then
    cat <<'TEXT'
The first build compiles wasmtime and RocksDB: about 30 minutes on two cores,
less on more. cargo shows what it is at. Later builds take seconds; demo and
tests share what is compiled here.
TEXT
fi
