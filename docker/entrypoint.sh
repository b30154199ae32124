#!/usr/bin/env bash
# What a container of the image runs: a command of the package, or a role in a cluster.
set -euo pipefail

case "${1:-}" in
isr-run | isr-repo | isr-cluster | butler | pipetask)
    role=$1
    command=("$@")
    ;;
scheduler | worker)
    role=$1
    command=(dask "$@")
    ;;
node)
    role=$1
    command=(python -m pipeline.cloud.node "${@:2}")
    ;;
*) # options or raw files
    role=isr-run
    command=(isr-run "$@")
    ;;
esac

# For healthcheck.py; the process keeps its number when it becomes the command.
main=${ISR_MAIN_FILE:-/tmp/isr-main}
if ! echo "$role $$" 2>/dev/null >"$main"; then
    echo "isr: $main cannot be written. With a read-only root give the container a /tmp: --tmpfs /tmp" >&2
    exit 1
fi
exec "${command[@]}"
