#!/usr/bin/env bash
# Build the image and use it, with buildah and podman on Debian, as root: make image-check (10 minutes).
#
#     BASE_IMAGE=NAME make image-check    on an image that can be pulled, rather than the stand-in
#     KEEP=1 make image-check             images stay in build/image, and the next base is not made again
#
# Leaves build/image/report.json and sbom.cdx.json.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=build/image
export buildah="buildah --root $PWD/$folder/storage --runroot $PWD/$folder/run"

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "This needs root on Debian or Ubuntu: it installs buildah and podman, and makes containers." >&2
    exit 1
fi

clean() { # whatever is mounted below the storage must be unmounted before "make clean" can remove it
    if [[ -d $folder/storage ]]; then
        podman --root "$PWD/$folder/storage" --runroot "$PWD/$folder/run" rm --all --force >/dev/null 2>&1 || true
        $buildah rm --all >/dev/null 2>&1 || true
    fi
    awk -v place="$PWD/$folder/" 'index($2, place) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount || true
    rm -rf "$folder"/{data,other,layers,planted,rootfs,rootfs.tar,run,s3.env,db.env}
    [[ -n "${KEEP:-}" ]] || rm -rf "$folder"/{storage,programs}
}
trap clean EXIT
clean
mkdir -p "$folder"

programs=(buildah podman runc debootstrap skopeo strip git)
if ! command -v "${programs[@]}" >/dev/null || [[ $(command -v "${programs[@]}" | wc -l) != "${#programs[@]}" ]]; then
    echo "== Installing buildah, podman and others"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        binutils buildah ca-certificates debootstrap git podman runc skopeo uidmap >"$folder/apt.log"
fi
[[ -d $folder/programs ]] || .venv/bin/python -m venv "$folder/programs"
"$folder/programs/bin/python" -m pip install --quiet --only-binary :all: -r tools/image/programs.txt

options=(--base "${BASE_IMAGE:-localhost/hsc-isr-base}")
if [[ -z "${BASE_IMAGE:-}" ]]; then
    options+=(--stand-in)
    if ! $buildah images --quiet localhost/hsc-isr-base >/dev/null 2>&1; then
        echo "== Making a stand-in for the official Python image"
        bash tools/image/base.sh localhost/hsc-isr-base "$folder/rootfs" >"$folder/base.log" 2>&1 ||
            { tail -20 "$folder/base.log" >&2; exit 1; }
    fi
fi
.venv/bin/python -m tools.image.check "$folder" --programs "$folder/programs/bin" "${options[@]}"
