#!/usr/bin/env bash
# Write docker/requirements.lock and docker/build.lock: what goes into the image, and what builds it, with
# the hashes of all files of each version. constraints.txt decides on the versions (make image-lock).
set -euo pipefail
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python=$(bash tools/find_python.sh)
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --only-binary :all: uv==0.13.9

# --universal: the same list for Python 3.12 and 3.13; --no-config: no address of a mirror gets into it.
compile() { # compile OUTPUT INPUT OPTIONS...
    local output=$1 input=$2
    shift 2
    {
        echo "# Made by make image-lock; do not edit."
        "$scratch/venv/bin/uv" pip compile "$input" --quiet --no-config --no-header --no-annotate --universal \
            --python-version 3.12 --generate-hashes "$@"
    } >"$scratch/lock"
    mv "$scratch/lock" "$output"
    echo "$output: $(grep -c == "$output") packages"
}

# tzdata is for Windows.
compile docker/requirements.lock pyproject.toml -c constraints.txt --no-emit-package tzdata \
    --extra aws --extra butler --extra dask
printf 'cyclonedx-bom\nsetuptools>=77\n' >"$scratch/build.in"
compile docker/build.lock "$scratch/build.in"
