"""Private keys: made, kept encrypted, and used to sign. Bytes only; files and prompts are the command line's business.

They are written in OpenSSH's format, since its bcrypt rounds can be chosen; encrypted PKCS8 as `cryptography` writes it
is bound to 2,048 rounds of PBKDF2, and is only read.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, Protocol

from patchpm.errors import UsageError
from patchpm.trust.keys import ED25519, P256, PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BCRYPT_ROUNDS: Final = 64
"""Work of one guess at a passphrase: about 0.6 s of one core (the OpenSSH default of 16 is a quarter of that)."""
MAX_BYTES: Final = 64 * 1024
"""Largest key file that is looked at."""

_OPENSSH_HEAD: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_OPENSSH_MAGIC: Final = b"openssh-key-v1\0"


class Signer(Protocol):
    """Whatever can sign: a private key in memory, later a hardware or cloud key."""

    @property
    def public(self) -> PublicKey:
        """The key that its signatures are checked with."""

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""


class PrivateKey:
    """A private key in memory. The same key and message always give the same signature."""

    def __init__(self, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = public_of(key.public_key())

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Sign `data`: 64 bytes for Ed25519; DER for P-256, with the nonce of RFC 6979."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
        return self._key.sign(data)

    def to_openssh(self, passphrase: bytes | None) -> bytes:
        """The key as an OpenSSH file, encrypted under `passphrase`, or plain where that is None."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        protection = (
            NoEncryption()
            if passphrase is None
            else PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(BCRYPT_ROUNDS).build(passphrase)
        )
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, protection)

    def __repr__(self) -> str:
        return f"PrivateKey({self._public})"


def generate(scheme: str = ED25519) -> PrivateKey:
    """Make a new key of one of the `SCHEMES`.

    Raises:
        UsageError: `unsupported-key` for another scheme.
    """
    if scheme == ED25519:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return PrivateKey(Ed25519PrivateKey.generate())
    if scheme == P256:
        from cryptography.hazmat.primitives.asymmetric import ec

        return PrivateKey(ec.generate_private_key(ec.SECP256R1()))
    raise _unsupported(f"the scheme {scheme[:40]!r} is not one of {ED25519}, {P256}")


def is_encrypted(data: bytes) -> bool:
    """Whether a private key file asks for a passphrase.

    Raises:
        UsageError: `malformed-key` for bytes that are no private key file.
    """
    if data.startswith(_OPENSSH_HEAD):
        return _openssh_cipher(data) != b"none"
    if b"PRIVATE KEY-----" not in data[:80]:
        raise _malformed("it starts like none of the key formats that patchpm reads")
    return data.startswith(b"-----BEGIN ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in data[:200]


def read_private_key(data: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """Read an OpenSSH, PKCS8 or traditional PEM private key.

    Args:
        data: The whole file.
        passphrase: What unlocks it; ignored for a key that is not encrypted.

    Raises:
        UsageError: `malformed-key`, `unsupported-key` (RSA, other curves), `passphrase-needed` or `wrong-passphrase`.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    if len(data) > MAX_BYTES:
        raise _malformed(f"it has {len(data):,} bytes")
    encrypted = is_encrypted(data)
    if encrypted and not passphrase:
        raise UsageError("passphrase-needed", "this private key is encrypted", next="give its passphrase")
    load = load_ssh_private_key if data.startswith(_OPENSSH_HEAD) else load_pem_private_key
    try:
        key = load(data, passphrase if encrypted else None)
    except UnsupportedAlgorithm as error:
        raise _unsupported(str(error)) from None
    except (ValueError, TypeError) as error:
        if encrypted:
            raise UsageError(
                "wrong-passphrase",
                "the private key does not open",
                why="the passphrase is wrong, or the file is damaged",
            ) from None
        raise _malformed(str(error)) from None
    return _supported(key)


def read_public_key(data: bytes) -> PublicKey:
    """Read a public key as people hand it out: patchpm's own text, a line of `id_ed25519.pub`, or PEM.

    Raises:
        UsageError: `malformed-key` or `unsupported-key`.
        TrustError: `malformed-key` or `weak-key`.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    data = data[:MAX_BYTES].strip()
    if data.startswith((b"ed25519:", b"p256:")):
        return PublicKey.parse(data.decode("ascii", errors="replace"))
    load = load_pem_public_key if data.startswith(b"-----BEGIN") else load_ssh_public_key
    try:
        key = load(data)
    except UnsupportedAlgorithm as error:
        raise _unsupported(str(error)) from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    return public_of(key)


def public_of(key: object) -> PublicKey:
    """Our form of a public key of `cryptography`.

    Raises:
        UsageError: `unsupported-key`.
        TrustError: `weak-key`.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, Ed25519PublicKey):
        return PublicKey(ED25519, key.public_bytes_raw())
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return PublicKey(P256, key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))
    raise _unsupported(f"it is of the type {type(key).__name__}")


def _supported(key: object) -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return PrivateKey(key)
    raise _unsupported(f"it is of the type {type(key).__name__}")


def _openssh_cipher(data: bytes) -> bytes:
    # PROTOCOL.key of OpenSSH: the magic, then the cipher's name as a 4-byte length and its letters.
    body = b"".join(line for line in data.splitlines() if not line.startswith(b"-----"))
    try:
        blob = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("its body is not base64") from None
    start = len(_OPENSSH_MAGIC) + 4
    if not blob.startswith(_OPENSSH_MAGIC) or len(blob) < start:
        raise _malformed("its body is not of the format openssh-key-v1")
    return blob[start : start + int.from_bytes(blob[start - 4 : start], "big")]


def _malformed(why: str) -> UsageError:
    return UsageError("malformed-key", "this is not a key that patchpm can read", why=why)


def _unsupported(why: str) -> UsageError:
    return UsageError(
        "unsupported-key", "patchpm does not use keys of this type", why=why, next="use an Ed25519 or a P-256 key"
    )
