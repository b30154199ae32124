#!/usr/bin/env bash
# 100 jobs as in the workflow of 2019: 33 detectors of visit 903334 (simulated once, 4 GB), three tasks for each,
# on two worker processes. What is done already is kept: delete demo-100 to begin anew.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
repo=demo-100/repo

"$bin/isr-repo" demo "$repo" --all -j 2 --log-level WARNING
"$bin/isr-run" -b "$repo" -i HSC/defaults -o u/demo/visit -d "visit=903334" \
    -p pipeline/pipelines/visit.yaml --dask local:2 --summary demo-100/summary.json
"$bin/python" tools/show_visit.py "$repo" u/demo/visit
