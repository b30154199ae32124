#!/usr/bin/env bash
# Simulate one HSC exposure, reduce it, compare it with the truth.
set -euo pipefail
echo "make demo: not yet" >&2
exit 1
