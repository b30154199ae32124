#!/usr/bin/env bash
# Build docker/Dockerfile, with Docker if its engine answers, else with buildah:
#     tools/image/build.sh TAG [OPTION ...]    options of docker build or buildah bud
set -euo pipefail
cd "$(dirname "$0")/../.."
tag=$1
shift

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
created=$(git show -s --format=%cI HEAD 2>/dev/null || echo 1970-01-01T00:00:00Z)
arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created"
    --file docker/Dockerfile --tag "$tag")

if [[ -z "${buildah:-}" ]] && docker info >/dev/null 2>&1; then
    # The machines of a cluster are x86-64, whatever this one is.
    DOCKER_BUILDKIT=1 docker build --platform linux/amd64 "${arguments[@]}" "$@" .
    push="docker push $tag"
elif command -v buildah >/dev/null; then
    # The format of OCI has no HEALTHCHECK; chroot needs no rights that a container may lack.
    read -ra buildah <<<"${buildah:-buildah}"
    "${buildah[@]}" bud --isolation chroot --format docker "${arguments[@]}" "$@" .
    push="${buildah[*]} push $tag"
else
    echo "Neither an engine of Docker nor buildah was found: install one, e.g. apt-get install buildah" >&2
    exit 1
fi
if [[ $tag == */* ]]; then # it names a registry
    echo "To push it: $push"
fi
