#!/usr/bin/env bash
# Make a stand-in for the official Python image, where no registry of images can be reached:
#     tools/image/base.sh NAME FOLDER    with $buildah, the command for images
#
# It is Debian of debootstrap, and the Python that tools/find_python.sh finds, in /usr/local. The
# layers on top of it are the real ones; those below are not what users get.
set -euo pipefail
cd "$(dirname "$0")/../.."
name=$1
folder=$2
read -ra buildah <<<"${buildah:-buildah}"
# The release of the official image that docker/Dockerfile names.
suite=bookworm
# What Python's own modules are linked with.
libraries=libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,zlib1g,libuuid1,libexpat1

python=$(bash tools/find_python.sh)
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
if [[ $prefix == /usr ]]; then
    echo "The stand-in image needs a Python with a folder of its own, and $python is the system's:" >&2
    echo "name another (PYTHON=/path/to/python3.13), or an image that can be pulled (BASE_IMAGE=...)." >&2
    exit 1
fi

rm -rf "$folder"
mkdir -p "$folder"
debootstrap --variant=minbase --include="ca-certificates,netbase,tzdata,$libraries" "$suite" "$folder"
# As in the official image: no tests, no static library, no symbols, no documentation.
tar -C "$prefix" -c --exclude='__pycache__' --exclude='*.a' --exclude='lib/python3*/test' \
    --exclude='lib/python3*/idlelib/idle_test' --exclude='lib/python3*/site-packages/*' --exclude=share \
    bin include lib | tar -C "$folder/usr/local" --no-same-owner -x
rm -rf "$folder"/usr/share/{doc,man,info,locale}/* "$folder"/var/cache/apt/*.bin "$folder"/var/cache/apt/archives/*.deb \
    "$folder"/var/lib/apt/lists/* "$folder"/var/log/*.log "$folder/etc/resolv.conf"
find "$folder/usr/local" -type f \( -name '*.so' -o -path '*/bin/python3.*' \) -exec strip --strip-unneeded {} + 2>/dev/null || true
find "$folder/usr/local/bin" -type f -exec grep -lIZ "^#!$prefix" {} + | xargs -0r rm -f

container=$("${buildah[@]}" from scratch)
tar -C "$folder" --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . >"$folder.tar"
"${buildah[@]}" add --quiet "$container" "$folder.tar" / >/dev/null
"${buildah[@]}" config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env LANG=C.UTF-8 --cmd python3 "$container"
"${buildah[@]}" run --isolation chroot "$container" -- sh -c 'ldconfig && python3 -c "import ssl, sqlite3, ctypes, bz2, lzma"'
"${buildah[@]}" commit --quiet --rm --format docker "$container" "$name" >/dev/null
rm -rf "$folder" "$folder.tar"
