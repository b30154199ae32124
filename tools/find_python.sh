#!/usr/bin/env bash
# Print the path of a Python 3.12 or 3.13 from which the environment is made.
#
# Each candidate is executed before it is chosen: a pyenv shim named python3.13
# may be on PATH and still fail when it runs. 3.14 is not looked for because
# lsst-pipe-base wants zstandard < 0.24, which has no wheel for it; PYTHON=...
# is taken as it is, if it is at least 3.12.
set -euo pipefail

runs() { # runs PYTHON TEST: does it start, can it make environments, is its version right?
    "$1" -c "import ensurepip, sys, venv; sys.exit(not ($2))" >/dev/null 2>&1
}

choose() {
    "$1" -c 'import sys; print("Python", sys.version.split()[0], "at", sys.executable, file=sys.stderr)'
    "$1" -c 'import sys; print(sys.executable)'
    exit 0
}

if [[ -n "${PYTHON:-}" ]]; then
    if runs "$PYTHON" "sys.version_info >= (3, 12)"; then choose "$PYTHON"; fi
    echo "PYTHON=$PYTHON does not run, is older than 3.12 or lacks venv: looking for another" >&2
fi

candidates=(python3.13 python3.12 python3)
while IFS= read -r path; do
    candidates+=("$path")
done < <(printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23]*/bin/python | sort -rV)

for candidate in "${candidates[@]}"; do
    if runs "$candidate" "(3, 12) <= sys.version_info[:2] <= (3, 13)"; then choose "$candidate"; fi
done

echo "No Python 3.12 or 3.13 found: trying 'uv python install 3.13'" >&2
if ! command -v uv >/dev/null; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip install --quiet --only-binary :all: --target "$scratch" uv >&2 || true
    PATH="$scratch/bin:$PATH"
fi
if command -v uv >/dev/null && uv python install 3.13 >&2; then
    choose "$(uv python find --managed-python 3.13)"
fi

echo "No usable Python. Install 3.12 or 3.13 (with venv) and name it: make env PYTHON=/path/to/python3.13" >&2
exit 1
