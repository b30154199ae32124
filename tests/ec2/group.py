"""A group of astronomers in the cloud: a bucket, a database, a repository with a visit, an operator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cloud.names import Place
from tests.e2e.butler.commands import DETECTORS, VISIT, Result
from tests.ec2.cloud import Cloud, CloudCommands, wait_for
from tests.ec2.network import GATEWAY
from tests.pgserver import PgServer

BUCKET = "group-data"
PLACE = Place(BUCKET, "clusters-of-ours")
REPOSITORY = f"s3://{BUCKET}/repo"
DATABASE = "butler"
VISIT_PIPELINE = Path(__file__).parents[2] / "pipeline" / "pipelines" / "visit.yaml"
QUANTA = 3 * len(DETECTORS)
DATA = ("--repository", REPOSITORY, "--image-repository", "hsc-isr")

# `isr-cluster` for users without patience: leases of seconds, and AWS ends them soon after. No signs of
# life between those of the steps: how many requests a step is away does not depend on the machine's speed.
IMPATIENT = """
import sys
from pipeline.cli import isr_cluster_up
from pipeline.cloud import end, lease, up
isr_cluster_up._SHORTEST = isr_cluster_up._SHORTEST_IDLE = 1
lease.LATE = 5
end._PATIENCE = 20.0
up._BEAT = 3600.0
sys.argv[0] = "isr-cluster"
from pipeline.cli.isr_cluster import main
main()
"""


@dataclass
class Group:
    """What the tests of clusters share.

    Attributes
    ----------
    cloud : `Cloud`
        Where all of it is.
    admin, laptop : `CloudCommands`
        Commands of the administrator, who may do everything, and of the operator, who may only do what
        his policy says.
    image : `str`
        The container image, in ECR.
    credentials : `pathlib.Path`
        File of the database's password.
    password : `str`
        That password.
    """

    cloud: Cloud
    admin: CloudCommands
    laptop: CloudCommands
    image: str
    credentials: Path
    password: str

    def cluster(self, *words: object, code: int | None = 0, **options: Any) -> Result:
        """Run ``isr-cluster``."""
        return self.laptop("isr-cluster", *words, code=code, **options)

    def up_words(self, name: str, workers: int = 2) -> tuple[object, ...]:
        """Return the command line that starts a small cluster."""
        small = ("--type", "m5.large", "--processes", 1, "--db-auth", self.credentials)
        return ("up", name, "-n", workers, *small, "--image", self.image, "-y")

    def up(self, name: str, *words: object, workers: int = 2, code: int | None = 0) -> Result:
        """Start a small cluster."""
        return self.cluster(*self.up_words(name, workers), *words, code=code)

    def impatient(self, *words: object) -> tuple[object, ...]:
        """Return a command line like `isr-cluster` for leases of seconds."""
        return ("python", "-c", IMPATIENT, *words)

    def run_words(self, name: str, output: str) -> tuple[object, ...]:
        """Return the command line that reduces the visit on a cluster."""
        data = ("-d", f"visit={VISIT}", "-p", VISIT_PIPELINE)
        return (
            "isr-run",
            "-b",
            REPOSITORY,
            "-i",
            "HSC/defaults",
            "-o",
            output,
            *data,
            "--dask",
            f"ec2:{name}",
        )

    def status(self, name: str) -> dict[str, Any]:
        """Return what the head of a cluster has said last."""
        return self.document(name, "status.json") or {}

    def document(self, name: str, key: str) -> dict[str, Any] | None:
        """Return a document of a cluster."""
        s3 = self.cloud.client("s3")
        try:
            answer = s3.get_object(Bucket=BUCKET, Key=PLACE.cluster(name) + key)
        except s3.exceptions.NoSuchKey:
            return None
        found: dict[str, Any] = json.loads(answer["Body"].read())
        return found

    def workers(self, name: str) -> list[str]:
        """Return the worker instances that are alive."""
        return [
            item["InstanceId"]
            for item in self.cloud.instances(name)
            if {"Key": "isr:role", "Value": "worker"} in item["Tags"]
        ]

    def files(self, instance: str, pattern: str) -> list[Path]:
        """Return files on the disk of an instance."""
        pid = self.cloud.order("machines")[instance]["pid"]
        return list(Path(f"/proc/{pid}/root").glob(pattern))

    def slow_down(self) -> None:
        """Let the next quanta take so long that something can happen to them meanwhile."""
        self.cloud.clear_faults()
        self.cloud.delay("s3:PutObject", 6.0, times=4, principal=PLACE.role("worker"))

    def wait_for_work(self, name: str) -> list[str]:
        """Wait until all workers of a cluster execute something; return them."""

        def busy() -> list[str]:
            workers = self.status(name).get("workers", {})
            return list(workers) if workers and all(one["executing"] for one in workers.values()) else []

        try:
            found: list[str] = wait_for(busy, 240, "workers that are busy")
        except TimeoutError as error:
            log = self.cluster("logs", name, code=None).out[-6000:]
            raise AssertionError(f"{error}: {self.status(name)}\n{log}") from None
        return found

    def what_is_left(self, name: str) -> dict[str, list[str]]:
        """Return everything of a cluster that there is, found by other means than those of `isr-cluster`."""
        client = self.cloud.client
        ec2 = client("ec2")
        tagged = [{"Name": "tag:isr:cluster", "Values": [name]}]
        ever = self.cloud.instances(name, alive=None)
        fleets = {tag["Value"] for item in ever for tag in item["Tags"] if tag["Key"] == "aws:ec2:fleet-id"}
        base = f"/isr/{PLACE.id}/{name}/"
        found = {
            "instances": [item["InstanceId"] for item in self.cloud.instances(name)],
            "templates": [
                item["LaunchTemplateName"]
                for item in ec2.describe_launch_templates(Filters=tagged)["LaunchTemplates"]
            ],
            "volumes": [
                item["VolumeId"]
                for item in ec2.describe_volumes(Filters=tagged)["Volumes"]
                if not item["Attachments"]
            ],
            "fleets": [
                item["FleetId"]
                for fleet in sorted(fleets)
                for item in ec2.describe_fleets(FleetIds=[fleet])["Fleets"]
                if not item["FleetState"].startswith("deleted")
            ],
            "parameters": [
                item["Name"]
                for item in client("ssm").get_parameters_by_path(Path=base, Recursive=True)["Parameters"]
            ],
            "schedules": [
                item["Name"]
                for item in client("scheduler").list_schedules()["Schedules"]
                if item["Name"] == PLACE.schedule(name)
            ],
            "documents": [
                item["Key"]
                for item in client("s3")
                .list_objects_v2(Bucket=BUCKET, Prefix=PLACE.cluster(name))
                .get("Contents", [])
            ],
        }
        return {kind: things for kind, things in found.items() if things}

    def change_document(self, name: str, **values: Any) -> None:
        """Change the document of a cluster behind everybody's back."""
        document = (self.document(name, "cluster.json") or {}) | values
        self.cloud.client("s3").put_object(
            Bucket=BUCKET, Key=PLACE.cluster(name) + "cluster.json", Body=json.dumps(document).encode()
        )


@contextmanager
def make_empty_group(cloud: Cloud, folder: Path) -> Iterator[Group]:
    """Make a group without data: what an administrator does in an account, and an operator."""
    credentials = folder / "db-auth.yaml"
    if not credentials.exists():
        credentials.touch(mode=0o600)
        credentials.write_text("- url: postgresql://nowhere/*\n  username: u\n  password: planted-password\n")
    variables = {"ISR_STATE": str(PLACE), "LSST_DB_AUTH": str(credentials)}
    (folder / "admin").mkdir()
    (folder / "operator").mkdir()
    admin = cloud.commands("admin", folder / "admin", **variables)
    admin("isr-cluster", "setup", *DATA, "-y")
    cloud.create_user("operator", json.loads(admin("isr-cluster", "policy", "operator", *DATA).out))
    laptop = cloud.commands("operator", folder / "operator", **variables)
    try:
        yield Group(cloud, admin, laptop, cloud.put_image("hsc-isr", "1.0"), credentials, "planted-password")
    finally:
        cloud.terminate_all()


@contextmanager
def make_group(cloud: Cloud, pg: PgServer, data: Path, folder: Path) -> Iterator[Group]:
    """Make a group with a repository, with the commands of docs/aws.md."""
    cloud.network.forward(pg.port)
    pg.write_credentials(folder / "db-auth.yaml", host=GATEWAY)
    with make_empty_group(cloud, folder) as group:
        _make_repository(group.admin, pg, data)
        group.laptop.secrets = (*group.laptop.secrets, pg.password)
        group.password = pg.password
        yield group


def _make_repository(admin: CloudCommands, pg: PgServer, data: Path) -> None:
    database = pg.url(DATABASE, host=GATEWAY)
    for words in (
        ("isr-repo", "create", "--db", database, "--schema", "hsc", "--root", REPOSITORY),
        ("butler", "register-instrument", REPOSITORY, "lsst.obs.subaru.HyperSuprimeCam"),
        ("butler", "ingest-raws", REPOSITORY, data / "raw", "-t", "copy"),
        ("butler", "define-visits", REPOSITORY, "HSC"),
        ("butler", "write-curated-calibrations", REPOSITORY, "HSC"),
        ("isr-repo", "ingest-calibs", REPOSITORY, data, "-t", "copy"),
    ):
        admin(*words)
