#!/usr/bin/env bash
# Compile modules and kernels of the environment FOLDER, so that a container, which cannot keep them, does not:
#     docker/warm.sh FOLDER STDLIB
# Modules of others are compiled by their use below: all of them would be 60 MB, two thirds never read. Those
# of Python's own library are copied to STDLIB, as they are below /usr/local/lib.
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE NUMBA_CACHE_DIR
environment=$1
stdlib=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Numba knows its sources by size and time; layers of an image keep whole seconds only.
find "$environment" -name '*.py' -newermt 1980-01-01 -exec touch -d 2020-01-01T00:00:00Z {} +
python -m compileall -q -j 0 "$environment"/lib/python3*/site-packages/{isr,pipeline,lsst}

# Kernels go beside their modules; isr/kernel_cache.py copies them from there to a place that can be written to.
cd "$work"
isr-repo simulate night --visit 903334 --detectors 22 --log-level WARNING
isr-repo simulate night-y --visit 903334 --filter HSC-Y --detectors 22 --compress --log-level WARNING
isr-run night/raw/*.fits --calibs night -o out --quicklook --log-level WARNING
isr-run night-y/raw/*.fits.fz --calibs night-y -o out-y -c doStrayLight=False --compress gzip2 --log-level WARNING
isr-run night/raw/*.fits --calibs night -o out-2 -c overscan.fitType=MEDIAN_PER_ROW \
    -c doFluxConservingBrighterFatterCorrection=True --log-level WARNING
isr-repo demo repo --detectors 22 --log-level WARNING
isr-run -b repo -i HSC/defaults -o u/warm -d "visit=903334" --dask local:1 \
    -p resource://pipeline/pipelines/visit.yaml --log-level WARNING
dask --help >/dev/null
python -c 'import boto3; [boto3.client(name, region_name="us-east-1") for name in ("s3", "ssm", "ec2", "logs")]'
python -c 'import distributed.cli.dask_scheduler, distributed.cli.dask_worker, distributed.http.health, psycopg'

version=$(python -c 'import sys; print("python{}.{}".format(*sys.version_info))')
mkdir -p "$stdlib"
(cd /usr/local/lib && find "$version" -name site-packages -prune -o -name '*.pyc' -print0 |
    tar -c --null -T -) | tar -C "$stdlib" -x
