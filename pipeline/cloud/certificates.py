"""Keys with which the parts of a cluster know each other: in AWS's parameter store, never in user-data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.cloud.aws import Account, code_of, explained
from pipeline.cloud.document import Cluster
from pipeline.cloud.names import Place, tag_list
from pipeline.cloud.user_data import LONGEST_LEASE
from pipeline.errors import CloudError

__all__ = ["store_secrets"]

_SLACK = timedelta(hours=1)  # clocks differ


@dataclass(frozen=True)
class _Issuer:
    """An authority that exists only while the certificates are made: its key is stored nowhere."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, role: str) -> tuple[str, str]:
        """Return certificate and key of a part of the cluster, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            _builder(role, self.certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _builder(role: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"isr-{role}")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + timedelta(seconds=LONGEST_LEASE) + _SLACK)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _new_issuer() -> _Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder("authority", None, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Issuer(key, certificate)


def store_secrets(account: Account, place: Place, cluster: Cluster, db_auth: str = "") -> None:
    """Make the certificates of a cluster and store them where its instances find them.

    The head's role may read those of scheduler and client and the credentials
    of the database, a worker's role only those of workers.

    Parameters
    ----------
    account : `~pipeline.cloud.aws.Account`
        Whose parameter store.
    place : `~pipeline.cloud.names.Place`
        Place of the cluster.
    cluster : `~pipeline.cloud.document.Cluster`
        What they are for.
    db_auth : `str`, optional
        Content of the file that ``LSST_DB_AUTH`` names on the head.
    """
    issuer = _new_issuer()
    scheduler, client, worker = (issuer.issue(role) for role in ("scheduler", "client", "worker"))
    secrets = {
        "tls/scheduler": json.dumps(
            {
                "ca": issuer.pem,
                "cert": scheduler[0],
                "key": scheduler[1],
                "client_cert": client[0],
                "client_key": client[1],
            }
        ),
        "tls/worker": json.dumps({"ca": issuer.pem, "cert": worker[0], "key": worker[1]}),
    }
    if db_auth:
        secrets["db-auth"] = db_auth
    tags = {"isr:cluster": cluster.name, "isr:id": cluster.id, "isr:place": cluster.place}
    path = place.parameters(cluster.name, cluster.id)
    for name, value in secrets.items():
        try:
            with explained(f"store the secret {path}/{name}"):
                account.client("ssm").put_parameter(
                    Name=f"{path}/{name}",
                    Type="SecureString",
                    Value=value,
                    Tags=tag_list(tags),
                )
        except CloudError as error:  # the answer was lost, and the SDK has repeated the request
            if code_of(error) != "ParameterAlreadyExists":
                raise
