"""``docker login | pull | run | stop | kill``, without containers: processes of this instance.

``run`` knows only the options that it honours or checks; another one is an error, so that no
option of the real command is untested by accident. Honoured: ``--user``, ``-e``, ``-v``,
``--tmpfs``, ``--entrypoint`` and the log driver awslogs. Checked: ``--network host``. Without
effect: ``--read-only`` (but the user is not root, and owns nothing), ``--cap-drop``,
``--security-opt``, ``--ulimit``. The entrypoint and the variables are those of ``docker/``.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

CONFIG = json.loads(Path("/run/guest.json").read_text())
STATE = Path("/run/docker")
ECR = re.compile(r"(?P<host>\d+\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com)/(?P<repository>[^:@]+)")
BIN = str(Path(CONFIG["python"]).parent)


class Failure(Exception):
    """What docker says, and its exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise Failure(125, f"the harness's docker run: {message}")


def client(service: str, region: str):  # type: ignore[no-untyped-def]
    import boto3

    os.environ["AWS_ENDPOINT_URL"] = CONFIG["endpoint"]
    return boto3.client(service, region_name=region)


def login(words: list[str]) -> int:
    password = sys.stdin.read().strip() if "--password-stdin" in words else ""
    if not password:
        raise Failure(1, "password is empty")
    host = words[-1].removeprefix("https://")
    (STATE / f"login-{host}").write_text(password)
    print("Login Succeeded")
    return 0


def pull(words: list[str]) -> int:
    image = words[-1]
    place = ECR.match(image)
    if place:
        if not (STATE / f"login-{place['host']}").exists():
            raise Failure(1, f"Error response from daemon: Head {image}: no basic auth credentials")
        rest = image[place.end() :]
        key = "imageDigest" if rest.startswith("@") else "imageTag"
        wanted = {key: rest[1:] or "latest"}
        ecr = client("ecr", place["region"])
        answer = ecr.batch_get_image(repositoryName=place["repository"], imageIds=[wanted])
        if not answer["images"]:
            raise Failure(1, f"Error response from daemon: manifest for {image} not found: manifest unknown")
    (STATE / "pulled").open("a").write(image + "\n")
    print(f"Status: Downloaded newer image for {image}")
    return 0


def arguments(words: list[str]) -> argparse.Namespace:
    parser = Parser(prog="docker run", allow_abbrev=False, add_help=False)
    for flag in ("--rm", "--read-only", "--init"):
        parser.add_argument(flag, action="store_true")
    for option in ("--name", "--network", "--log-driver", "--entrypoint", "--stop-timeout", "--shm-size"):
        parser.add_argument(option)
    parser.add_argument("--user", default="10001:10001")
    for option in ("--tmpfs", "--cap-drop", "--security-opt", "--ulimit", "--log-opt"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("-e", "--env", action="append", default=[])
    parser.add_argument("-v", "--volume", action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def command_of(options: argparse.Namespace) -> list[str]:
    """Return what runs: the entrypoint of the image, or another one."""
    if options.entrypoint is None:
        return ["/bin/bash", f"{CONFIG['project']}/docker/entrypoint.sh", *options.command]
    program = Path(BIN, options.entrypoint)
    if not program.exists():
        raise Failure(127, f"exec: {options.entrypoint!r}: executable file not found in $PATH")
    return [str(program), *options.command]


def image_variables() -> dict[str, str]:
    """Return what the last ENV of the Dockerfile says, but for where this project lies here."""
    lines = Path(CONFIG["project"], "docker/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    last = [line for line in lines if line.startswith("ENV ")][-1]
    found = dict(word.partition("=")[::2] for word in last.split()[1:])
    # The kernels that lie here were compiled for this processor.
    found.pop("NUMBA_CPU_NAME", None)
    return found | {"PATH": f"{BIN}:{found['PATH']}"}


def environment(options: argparse.Namespace) -> dict[str, str]:
    made = image_variables() | {"AWS_ENDPOINT_URL": CONFIG["endpoint"]} | CONFIG["machine"]
    for item in options.env:
        name, equals, value = item.partition("=")
        if equals:
            made[name] = value
        elif name in os.environ:
            made[name] = os.environ[name]
    return made


class Log:
    """The log driver: everything goes to the console, and to CloudWatch if asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._lines: list[dict[str, object]] = []
        self._client = None
        driver = options.log_driver or "json-file"
        given = dict(item.partition("=")[::2] for item in options.log_opt)
        if driver == "awslogs":
            self._place = {"logGroupName": given["awslogs-group"], "logStreamName": given["awslogs-stream"]}
            self._client = client("logs", given["awslogs-region"])
            try:
                self._client.create_log_stream(**self._place)
            except self._client.exceptions.ResourceAlreadyExistsException:
                pass
            except Exception as error:
                raise Failure(125, f"failed to initialize logging driver: {error}") from error
        elif driver not in ("json-file", "none"):
            raise Failure(125, f"the harness does not know the log driver {driver}")

    def add(self, line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        if self._client is not None:
            text = line.decode(errors="replace").rstrip("\n") or " "
            self._lines.append({"timestamp": int(time.time() * 1000), "message": text})

    def send(self) -> None:
        lines, self._lines = self._lines, []
        if lines and self._client is not None:
            try:
                self._client.put_log_events(**self._place, logEvents=lines)
            except Exception as error:
                print(f"docker: awslogs: {error}", flush=True)


def contain(options: argparse.Namespace, words: list[str], variables: dict[str, str]) -> int:
    """Run a command with mounts and processes of its own, which all end with it."""
    os.unshare(os.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    kept = {path: os.open(path, os.O_PATH) for path in CONFIG["kept"]}  # also below a new /tmp
    for item in options.tmpfs:
        path, _, settings = item.partition(":")
        Path(path).mkdir(parents=True, exist_ok=True)
        known = ["-o", settings] if settings else ["-o", "mode=1777"]
        subprocess.run(["mount", "-t", "tmpfs", *known, "tmpfs", path], check=True)
    for path, number in kept.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        source = f"/proc/self/fd/{number}"
        subprocess.run(["mount", "-c", "--bind", source, path], check=True, pass_fds=[number])
        os.close(number)
    for item in options.volume:
        source, target = item.split(":")[:2]
        for path in (source, target):
            Path(path).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", source, target], check=True)
    os.unshare(os.CLONE_NEWPID)  # the next child is the first process there
    return as_parent(lambda: first_process(options, words, variables))


def first_process(options: argparse.Namespace, words: list[str], variables: dict[str, str]) -> int:
    """Do what tini does: hand on signals, end with the command."""
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    user, _, group = options.user.partition(":")
    os.setgroups([])
    os.setgid(int(group or user))
    os.setuid(int(user))
    os.chdir("/data")

    def become() -> int:
        os.setsid()
        os.execve(words[0], words, variables)

    return as_parent(become)


def as_parent(work: Callable[[], int]) -> int:
    """Run a function in a child, hand on SIGTERM to it, return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        except BaseException as error:
            os.write(2, f"docker: {error}\n".encode())
        os._exit(126)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def run(words: list[str]) -> int:
    options = arguments(words)
    if options.network != "host":
        raise Failure(125, "the harness knows --network host only: with another one, hop limit 1 hides IMDS")
    pulled = STATE / "pulled"
    if not pulled.exists() or options.image not in pulled.read_text().split():
        pull([options.image])
    log = Log(options)
    command, variables = command_of(options), environment(options)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.setsid()
        try:
            os._exit(contain(options, command, variables))
        except BaseException as error:
            os.write(2, f"docker: {error}\n".encode())
        os._exit(125)
    os.close(writing)
    (STATE / f"{options.name}.pid").write_text(str(child))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    done = threading.Event()

    def send() -> None:
        while not done.wait(0.5):
            log.send()

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            log.add(line)
    _, status = os.waitpid(child, 0)
    done.set()
    sender.join()
    log.send()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def stop(words: list[str]) -> int:
    """Send SIGTERM, after ten seconds SIGKILL."""
    pid = int((STATE / f"{words[-1]}.pid").read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.1)
            os.kill(pid, 0)
        os.killpg(pid, signal.SIGKILL)
    return 0


def main() -> int:
    STATE.mkdir(exist_ok=True)
    verb, *words = sys.argv[1:]
    known = {"login": login, "pull": pull, "run": run, "stop": stop}
    try:
        if verb not in known:
            raise Failure(1, f"the harness does not know docker {verb}")
        return known[verb](words)
    except Failure as failure:
        print(f"docker: {failure}", file=sys.stderr)
        return failure.code
    except Exception as error:
        print(f"docker: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
