"""How workers of other machines come to the head, and find that it is the one: a token, and TLS with a key from it.

The head derives a key pair from its token, and its certificate carries it. A worker knows the public key: from the
token, or because it was told. It talks to nobody whose certificate has another, and then shows its own token. On the
loopback interface there is no TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hmac
import ipaddress
import os
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from engine.spread.link import Link

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TOKEN = "DATAGEN_WORKER_TOKEN"  # noqa: S105 - the variable's name
LEAST = 32
"""Characters of a token: its key can be seen by anybody, so it must not be guessed."""
_CONNECT_S = 10.0


def new_token() -> str:
    """The one in the environment, or a new one. Raises ConfigError where that is too short."""
    given = os.environ.get(TOKEN, "")
    if given and len(given) < LEAST:
        raise ConfigError(f"{TOKEN}: must have {LEAST} characters at least; leave it out, and one is made")
    return given or secrets.token_urlsafe(32)


class Tokens:
    """What workers may show: the run's own token, any number of times, and those that are good for one.

    Mutable state: those that are left.
    """

    def __init__(self, own: str) -> None:
        self.own = own
        self._once: set[str] = set()

    def once(self) -> str:
        """A new one for a single worker."""
        self._once.add(token := secrets.token_urlsafe(32))
        return token

    def take(self, shown: str) -> bool:
        """Whether a worker that shows this may join."""
        if hmac.compare_digest(shown.encode(), self.own.encode()):
            return True
        known = next(
            (each for each in self._once if hmac.compare_digest(shown.encode(), each.encode())), None
        )
        self._once.discard(known or "")
        return known is not None


def parted(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"{address}: must be HOST:PORT, such as 10.0.0.5:7077")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


# --- the head's side ---


@asynccontextmanager
async def listening(address: str, token: str, link: Callable[[], Link]) -> AsyncIterator[int]:
    """Takes connections while the block lasts, on the port that it gives. Raises ConfigError where it cannot."""
    host, port = parted(address)
    context = None if is_loopback(host) else _server_context(token)
    try:
        server = await asyncio.get_running_loop().create_server(link, host, port, ssl=context)
    except OSError as error:
        raise ConfigError(f"spread.listen: {address}: {error.strerror or error}") from None
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _server_context(token: str) -> ssl.SSLContext:
    """With a certificate that nobody has signed, and whose key is the token's."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = _key(token)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "datagen")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + 3650 * day)
        .sign(key, None)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.TemporaryDirectory() as folder:  # the module reads keys from files alone
        file = Path(folder) / "head.pem"
        file.touch(0o600)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(file)
    return context


def _key(token: str) -> Ed25519PrivateKey:
    """The key pair that belongs to a token (HKDF, RFC 5869; Ed25519, RFC 8032). Raises ConfigError."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError:
        raise ConfigError(
            "workers of other machines need the package cryptography: pip install 'datagen-engine[machines]'"
        ) from None
    seed = HKDF(SHA256(), 32, None, b"datagen worker link 1").derive(token.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_key(token: str) -> str:
    """The public key that belongs to a token, in hexadecimal: no secret. Raises ConfigError."""
    return _bytes_of(_key(token).public_key()).hex()


# --- the worker's side ---


async def connected(address: str, key: str, link: Callable[[], Link]) -> Link:
    """A link to the head at this address, which has shown that it has this public key; '' on the loopback interface.

    Raises ConfigError where it has not, OSError where nothing answers there. `link` makes one for each attempt.
    """
    host, port = parted(address)
    if not key and is_loopback(host):
        return await _plain(host, port, link)
    try:
        return await _over_tls(host, port, key, link)
    except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError):
        if not is_loopback(host):
            raise ConfigError(f"{address}: is no head of ours, or not one with this {TOKEN}") from None
    return await _plain(host, port, link)


async def _plain(host: str, port: int, link: Callable[[], Link]) -> Link:
    async with asyncio.timeout(_CONNECT_S):
        _, there = await asyncio.get_running_loop().create_connection(link, host, port)
    return there


async def _over_tls(host: str, port: int, key: str, link: Callable[[], Link]) -> Link:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its key is what is checked
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_CONNECT_S):
        transport, there = await loop.create_connection(link, host, port, ssl=context)
    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if not hmac.compare_digest(_key_in(shown), key):
        transport.abort()
        raise ConfigError(f"{host}:{port}: its certificate is not of this {TOKEN}")
    return there


def _key_in(certificate: bytes) -> str:
    from cryptography import x509

    return _bytes_of(x509.load_der_x509_certificate(certificate).public_key()).hex()


def _bytes_of(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
