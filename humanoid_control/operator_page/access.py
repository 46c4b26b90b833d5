"""Who may come in: the token, the certificate, and the names by which the page may be asked for.

Token and key are made at the first start and kept in files that only their user can read.
"""

from __future__ import annotations

import datetime
import hmac
import ipaddress
import os
import secrets
import socket
import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from humanoid_control.errors import ConfigurationError

TOKEN_FILE, CERTIFICATE_FILE, KEY_FILE = "operator_token", "operator_page.crt", "operator_page.key"
LEAST_TOKEN = 32  # characters
VALID_DAYS, RENEWED_DAYS = 397, 30  # browsers take no certificate that is valid for longer; renewed so long before its end


def state_folder() -> Path:
    """Where what is made at the first start is kept (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "humanoid_control"


class Token:
    """What whoever wants in has to know.

    Attributes:
        text: the token.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the token of a folder, or makes one.

        Args:
            folder: where it is kept.

        Raises:
            ConfigurationError: it cannot be read or made, others can read it, or it is too short.
        """
        path = folder / TOKEN_FILE
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(32).encode())
        self.text = _read_private(path).decode(errors="replace").strip()
        if len(self.text) < LEAST_TOKEN:
            raise ConfigurationError(f"the token in {path} has {len(self.text)} characters; {LEAST_TOKEN} are needed: delete it, and one is made")

    def is_right(self, given: object) -> bool:
        """Whether it was told; takes as long for a wrong one, wherever it differs."""
        return isinstance(given, str) and is_secret(given, self.text)


def is_secret(given: str, secret: str) -> bool:
    """Whether a text is the secret; takes as long for a wrong one, wherever it differs."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())


def own_names(extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The names this machine is asked for by: localhost, its host name, and what its user adds, in small letters."""
    host = socket.gethostname().lower()
    return tuple(dict.fromkeys(("localhost", host, f"{host.partition('.')[0]}.local", *(name.lower() for name in extra))))


def is_own_host(header: str, names: tuple[str, ...]) -> bool:
    """Whether a request's Host is this machine.

    A page of elsewhere that has its name point here (DNS rebinding) comes with that name; an address cannot be made to.

    Args:
        header: `Host`, with or without a port.
        names: as `own_names` gives them.
    """
    host = header.rpartition("]")[0].lstrip("[") if header.startswith("[") else header.partition(":")[0]
    return host.lower() in names or _is_address(host)


def is_own_origin(origin: str | None, scheme: str, host: str) -> bool:
    """Whether a websocket is opened by a page that came from here; browsers always say where it did.

    Args:
        origin: the header; None: there was none.
        scheme: http or https, as the page is served.
        host: the header `Host`.
    """
    return origin is not None and origin.lower() == f"{scheme}://{host}".lower()


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what is bound to a host."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def make_tls(folder: Path, names: tuple[str, ...]) -> tuple[ssl.SSLContext, str]:
    """What serves https, and the certificate's SHA-256 fingerprint, to be compared with what a browser shows.

    Args:
        folder: where certificate and key are kept; made if they are missing, nearly too old, or for other names.
        names: host names and addresses it is for.

    Raises:
        ConfigurationError: they cannot be read or made, or others can read the key.
    """
    certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    if not _is_usable(certificate, key, names):
        _make_certificate(certificate, key, names)
    _read_private(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        fingerprint = x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256())
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"the certificate {certificate} or its key cannot be used: {error}; delete both, and they are made anew") from None
    return context, ":".join(f"{byte:02X}" for byte in fingerprint)


def _is_usable(certificate: Path, key: Path, names: tuple[str, ...]) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        told = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_its_key = serialization.load_pem_private_key(key.read_bytes(), None).public_key() == found.public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    until = found.not_valid_after_utc - datetime.timedelta(days=RENEWED_DAYS)
    known = {*told.get_values_for_type(x509.DNSName), *map(str, told.get_values_for_type(x509.IPAddress))}
    return is_its_key and known >= set(names) and datetime.datetime.now(datetime.timezone.utc) < until


def _make_certificate(certificate: Path, key: Path, names: tuple[str, ...]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "humanoid_control operator page")])
    alternatives = [x509.IPAddress(ipaddress.ip_address(each)) if _is_address(each) else x509.DNSName(each) for each in names]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=VALID_DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    for path in (certificate, key):
        path.unlink(missing_ok=True)
    _write_private(certificate, made.public_bytes(serialization.Encoding.PEM))
    _write_private(key, private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def _write_private(path: Path, data: bytes) -> None:
    """Writes a file that nobody else could read at any time; where there is one already, it stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        pass  # another was first
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}; make its folder writable, or name another one") from None


def _read_private(path: Path) -> bytes:
    """Reads a file that nobody else can read."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigurationError(f"{path} has mode {mode:03o}: others can read it; delete it, and it is made anew (or: chmod 600 {path})")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
