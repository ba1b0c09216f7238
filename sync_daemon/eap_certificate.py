"""The certificate FreeRADIUS shows in PEAP and EAP-TTLS: the operator's own, or one of a small authority made here once.

Devices must be told to trust it: they hand their password to whom it names. Without one that an operator has bought, the
authority's certificate (`eap/ca.pem` in the state directory) is what is installed on them, and it outlives the server's.
"""

import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from herotill.errors import InvalidValue

AUTHORITY_LASTS = timedelta(days=20 * 365)
SERVER_LASTS = timedelta(days=825)
"""Apple's devices refuse what lasts longer."""
RENEWED_BEFORE_END = timedelta(days=60)
RSA_BITS = 2048
"""RSA, because there are devices that know nothing else."""
NAME = "HeroTill RADIUS"
SERVER_NAME = "radius"
"""What devices are told to expect of our own certificate besides its authority."""
SHOWN_CERTIFICATE, SHOWN_KEY = "certs/herotill/server.pem", "certs/herotill/server.key"
"""Where they lie below raddb, as mods-available/herotill_eap has it."""

_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate with those above it, and its key, each as PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    expires_at: datetime
    is_own: bool = False
    """Of an authority that devices do not know by themselves."""


def operators_certificate(certificate: Path, key: Path, now: datetime) -> ServerCertificate:
    """Read a certificate (first in its file, those above it behind) and its key. Raises InvalidValue."""
    certificate_pem = _read(certificate, "--eap-certificate")
    key_pem = _read(key, "--eap-key")
    try:
        found = x509.load_pem_x509_certificates(certificate_pem)[0]
    except ValueError:
        raise InvalidValue("--eap-certificate", certificate, "it is a certificate in PEM") from None
    if _public(_key_of(key_pem, key).public_key()) != _public(found.public_key()):
        raise InvalidValue("--eap-key", key, f"it is the key of {certificate}")
    if found.not_valid_after_utc <= now:
        raise InvalidValue(
            "--eap-certificate", certificate, f"it is valid, but ended {found.not_valid_after_utc:%Y-%m-%d}"
        )
    return ServerCertificate(certificate_pem, key_pem, found.not_valid_after_utc)


def own_certificate(directory: Path, now: datetime) -> ServerCertificate:
    """Return the certificate of an authority of our own in `directory`, both made where they are missing.

    The server's is made anew in time, by the same authority, so that devices notice nothing.
    """
    authority = directory / "ca.pem", directory / "ca.key"
    server = directory / "server.pem", directory / "server.key"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (authority[0].exists() and authority[1].exists()):
        _write_pair(authority, *_new_authority(now))
    if not (server[0].exists() and server[1].exists()) or _ends_soon(server[0], now):
        _write_pair(server, *_new_server(authority, now))
    return replace(operators_certificate(*server, now), is_own=True)


def present_certificate(directory: Path, raddb: Path, now: datetime) -> ServerCertificate:
    """Return what an installation goes on showing: the operator's where it has one, else our own from `directory`."""
    shown, own = raddb / SHOWN_CERTIFICATE, directory / "server.pem"
    if shown.exists() and not (own.exists() and own.read_bytes() == shown.read_bytes()):
        return operators_certificate(shown, raddb / SHOWN_KEY, now)
    return own_certificate(directory, now)


def expires_at(certificate_pem: bytes) -> datetime:
    """Return when the first certificate ends. Raises ValueError where there is none."""
    return x509.load_pem_x509_certificates(certificate_pem)[0].not_valid_after_utc


def _ends_soon(certificate: Path, now: datetime) -> bool:
    return expires_at(certificate.read_bytes()) - now < RENEWED_BEFORE_END


def _new_authority(now: datetime) -> tuple[bytes, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    name = _name(f"{NAME} authority")
    made = _begun(name, name, key, now, AUTHORITY_LASTS)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_SIGNS_CERTIFICATES, critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key


def _new_server(authority: tuple[Path, Path], now: datetime) -> tuple[bytes, rsa.RSAPrivateKey]:
    authority_pem = authority[0].read_bytes()
    issuer = x509.load_pem_x509_certificate(authority_pem)
    issuer_key = _key_of(authority[1].read_bytes(), authority[1])
    if not isinstance(issuer_key, rsa.RSAPrivateKey):
        raise InvalidValue("the authority's key", authority[1], "it is the RSA key herotill made")
    key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    made = _begun(_name(SERVER_NAME), issuer.subject, key, now, SERVER_LASTS)
    # Windows asks for the usage, others for the name.
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    # Strict devices look for their authority by it (RFC 5280 §4.2.1.1).
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    made = made.add_extension(identifier, critical=False)
    signed = made.sign(issuer_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM) + authority_pem, key


def _begun(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    # A device's clock may be a little behind.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, NAME),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _write_pair(paths: tuple[Path, Path], certificate_pem: bytes, key: rsa.RSAPrivateKey) -> None:
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The key first: a certificate without its key would be believed.
    for path, content, mode in ((paths[1], key_pem, 0o600), (paths[0], certificate_pem, 0o644)):
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        new.rename(path)


def _key_of(pem: bytes, path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise InvalidValue("--eap-key", path, "it is a private key in PEM without a password") from None


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValue(option, path, f"it can be read ({error.strerror})") from None
