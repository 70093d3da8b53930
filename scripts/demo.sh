#!/usr/bin/env bash
# The main job, end to end, in a temporary directory: a server, an image, a
# Deployment and a Service, a port-forward, the page. Cleans up after itself.
set -euo pipefail
cd "$(dirname "$0")/.."

wk=${1:?usage: demo.sh WK TARGET_DIR}
target_dir=${2:?usage: demo.sh WK TARGET_DIR}

directory=$(mktemp -d)
children=()
cleanup() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$directory"
}
trap cleanup EXIT

now_ms() { date +%s%3N; }
started=$(now_ms)
step() { # step TEXT COMMAND...: runs it and prints how long it took
    local text=$1 before
    shift
    before=$(now_ms)
    "$@"
    printf '%7d ms  %s\n' "$(($(now_ms) - before))" "$text"
}

export WK_DATA_DIR=$directory KUBECONFIG=$directory/kubeconfig

start_server() {
    "$wk" server --listen 127.0.0.1:0 >"$directory/server.log" 2>&1 &
    children+=($!)
    # The server says so itself when it is ready; a dead one ends the wait.
    if ! timeout 60 sed -u '/^wk is ready/q' < <(tail -n +1 -f --pid=$! "$directory/server.log") >/dev/null; then
        cat "$directory/server.log"
        exit 1
    fi
}
load_image() { "$wk" image load "$(guest hello-kiamol)" --tag kiamol/ch02-hello-kiamol >/dev/null; }
guest() { # guest NAME: the newest build of it
    find "$target_dir" -name "$1.wasm" -path '*wasip2*' -not -path '*/deps/*' -printf '%T@ %p\n' |
        sort -rn | head -1 | cut -d' ' -f2-
}
apply() { "$wk" apply -f manifests/hello.yaml >/dev/null; }
wait_ready() { "$wk" wait --for=condition=Available deployment/hello-kiamol --timeout 60s >/dev/null; }
forward() {
    "$wk" port-forward service/hello-kiamol :80 >"$directory/forward.log" 2>&1 &
    children+=($!)
    timeout 20 sed -u '/^Forwarding/q' < <(tail -n +1 -f --pid=$! "$directory/forward.log") >/dev/null
    port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' "$directory/forward.log" | head -1)
}
fetch() { page=$(curl -fsS --max-time 20 "http://127.0.0.1:$port/"); }

step "start a cluster" start_server
step "load the image kiamol/ch02-hello-kiamol" load_image
step "apply manifests/hello.yaml (a Deployment of 2, a Service)" apply
step "wait until it is available" wait_ready
"$wk" get pods -o wide
step "forward a local port to the Service" forward
step "fetch the page" fetch
printf '%s\n' "$page"
step "delete everything" "$wk" delete -f manifests/hello.yaml
printf '%7d ms  in all\n' "$(($(now_ms) - started))"
