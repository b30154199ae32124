"""Build the image with planted secrets, and look for them in what came out."""

from __future__ import annotations

import gzip
import json
import os
import secrets
import shutil
import time
from pathlib import Path

from tools.image.engine import Engine
from tools.image.report import CheckError, Report, call

__all__ = ["build", "check_layers"]

CA = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
PIECE = 1 << 22


def build(report: Report, engine: Engine, base: str, folder: Path) -> list[str]:
    """Build the image; return secrets that the build has seen and the image must not have.

    They are in pip's configuration, in the file of certificates, in the
    environment of the build and in a file below the build's context.
    """
    planted = {
        place: f"planted-{place}-{secrets.token_hex(16)}" for place in ("pip", "ca", "variable", "file")
    }
    folder.mkdir(parents=True)
    index = call(["python3", "-m", "pip", "config", "get", "global.index-url"], code=None).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL") or index
    lines = ["[global]", "cert = /run/secrets/ca", *([f"index-url = {index}"] if index else [])]
    (folder / "pip").write_text("\n".join([*lines, f"# token = {planted['pip']}", ""]))
    (folder / "ca").write_text(f"{CA.read_text()}\n# {planted['ca']}\n")
    (folder / ".env").write_text(f"ISR_DB_PASSWORD={planted['file']}\n")

    def command() -> str:
        environment = os.environ | {"buildah": " ".join(engine.buildah), "ISR_TOKEN": planted["variable"]}
        start = time.monotonic()
        call(
            ["bash", "tools/image/build.sh", engine.image, "--build-arg", f"BASE_IMAGE={base}"]
            + [word for name in ("pip", "ca") for word in ("--secret", f"id={name},src={folder / name}")],
            environment=environment,
            timeout=3600,
            log=folder.parent / "build.log",
        )
        report.figures["build_seconds"] = round(time.monotonic() - start)
        return f"docker/Dockerfile on {base}"

    report.run("build", command)
    return list(planted.values())


def check_layers(report: Report, engine: Engine, planted: list[str], folder: Path) -> None:
    """Search all layers, the configuration and the history, and add up sizes."""

    def layers() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        call(["skopeo", "copy", "--quiet", "--dest-compress", engine.source, f"dir:{folder}"])
        manifest = json.loads((folder / "manifest.json").read_text())
        blobs = [folder / layer["digest"].partition(":")[2] for layer in manifest["layers"]]
        report.figures["compressed_MB"] = round(sum(blob.stat().st_size for blob in blobs) / 1e6)
        report.figures["unpacked_MB"] = round(engine.inspect()["Size"] / 1e6)
        unpacked = sum(search(blob, planted) for blob in blobs)
        texts = [(folder / manifest["config"]["digest"].partition(":")[2]).read_text()]
        texts.append(call([*engine.podman, "history", "--no-trunc", "--format=json", engine.image]).stdout)
        for text in texts:
            if found := [token for token in planted if token in text]:
                raise CheckError(f"the configuration or the history has {', '.join(found)}")
        shutil.rmtree(folder)
        return f"none of {len(planted)} planted ones in {len(blobs)} layers ({unpacked / 1e6:.0f} MB)"

    report.run("secrets", layers)
    report.run("search", lambda: search_finds(folder.parent))


def search(blob: Path, tokens: list[str]) -> int:
    """Return the size of a layer, unpacked.

    Raises
    ------
    CheckError
        If one of the tokens is in it.
    """
    wanted = [token.encode() for token in tokens]
    size, kept = 0, b""
    with gzip.open(blob) as stream:
        while piece := stream.read(PIECE):
            size += len(piece)
            text = kept + piece
            if found := [token.decode() for token in wanted if token in text]:
                raise CheckError(f"layer {blob.name} has {', '.join(found)}")
            kept = text[-200:]
    return size


def search_finds(folder: Path) -> str:
    """Show that the search finds what is there."""
    blob = folder / "planted.tar.gz"
    (folder / "planted.txt").write_text("x" * (PIECE - 10) + "planted-token")  # across two pieces
    with blob.open("wb") as stream, gzip.GzipFile(fileobj=stream, mode="wb") as packed:
        packed.write((folder / "planted.txt").read_bytes())
    try:
        search(blob, ["planted-token"])
    except CheckError:
        return "a secret that is in a layer is found"
    finally:
        blob.unlink()
        (folder / "planted.txt").unlink()
    raise CheckError("a planted secret was not found")
