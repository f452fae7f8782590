"""Public keys: two schemes, one text form, one id, and none that signs everything.

Keys are compared as keys: the id is computed from the key and never read from a file, so one key cannot stand under two
ids and be counted twice. Points are checked here in plain integers, so that reading a policy or a lock loads no
cryptography; only `verify` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from patchpm.errors import TrustError

ED25519: Final = "ed25519"
P256: Final = "p256"
SCHEMES: Final = (ED25519, P256)
"""Ed25519 (RFC 8032), and ECDSA on P-256 with SHA-256 for sites whose hardware or rules ask for it."""

_ED_P: Final = 2**255 - 19
_ED_D: Final = -121665 * pow(121666, -1, _ED_P) % _ED_P
_ED_SQRT_MINUS_1: Final = pow(2, (_ED_P - 1) // 4, _ED_P)
_ED_BYTES: Final = 32
_ORDER_8_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset({0, 1, _ED_P - 1, _ORDER_8_Y, _ED_P - _ORDER_8_Y})
"""The y coordinates of the eight points of order 1, 2, 4 and 8. Under such a key one signature fits every message."""

_NIST_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_NIST_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_NIST_BYTES: Final = 33

_SPKI_HEAD: Final = {
    ED25519: bytes.fromhex("302a300506032b6570032100"),
    P256: bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
}
"""The DER in front of the key bytes in a SubjectPublicKeyInfo (RFC 8410, RFC 5480)."""


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """A key that can check signatures. Equal keys are equal values, whatever file they came from."""

    scheme: str
    """One of `SCHEMES`."""
    raw: bytes
    """32 bytes of RFC 8032, or 33 bytes of a compressed SEC 1 point."""

    def __post_init__(self) -> None:
        if self.scheme == ED25519:
            _check_ed25519(self.raw)
        elif self.scheme == P256:
            _p256_y(self.raw)
        else:
            raise _malformed(f"the scheme {self.scheme[:40]!r} is not one of {', '.join(SCHEMES)}")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read `ed25519:<base64>` or `p256:<base64>`.

        Raises:
            TrustError: `malformed-key`, or `weak-key` for a point of small order.
        """
        scheme, colon, encoded = text.partition(":")
        if not colon:
            raise _malformed(f"expected {' or '.join(f'{known}:<base64>' for known in SCHEMES)}")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise _malformed("its second half is not base64") from None
        key = cls(scheme, raw)
        if str(key) != text:
            raise _malformed("its base64 has stray bits")
        return key

    @property
    def spki(self) -> bytes:
        """The key as a DER SubjectPublicKeyInfo, the form other tools read."""
        if self.scheme == ED25519:
            return _SPKI_HEAD[ED25519] + self.raw
        return _SPKI_HEAD[P256] + b"\x04" + self.raw[1:] + _p256_y(self.raw).to_bytes(32, "big")

    @property
    def id(self) -> str:
        """SHA-256 of `spki` in hex: how envelopes and registry metadata refer to this key."""
        return hashlib.sha256(self.spki).hexdigest()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` was made over `data` by this key.

        Args:
            signature: 64 bytes for Ed25519, DER for P-256.
            data: The message.
        """
        from cryptography.exceptions import InvalidSignature

        try:
            if self.scheme == ED25519:
                from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

                Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
            else:
                from cryptography.hazmat.primitives.asymmetric import ec
                from cryptography.hazmat.primitives.hashes import SHA256

                point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw)
                point.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return f"{self.scheme}:{base64.b64encode(self.raw).decode()}"


def _check_ed25519(raw: bytes) -> None:
    if len(raw) != _ED_BYTES:
        raise _malformed(f"an Ed25519 key has {_ED_BYTES} bytes, this one {len(raw)}")
    number = int.from_bytes(raw, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= _ED_P:
        raise _malformed("its coordinate is not reduced")
    if y in _SMALL_ORDER_Y:
        raise TrustError(
            "weak-key",
            "this public key must not be trusted",
            why="it is a point of small order: one signature would fit every message",
            next="ask its owner for the key that they really use",
        )
    # RFC 8032 section 5.1.3: x^2 = (y^2 - 1) / (d y^2 + 1) must have a root.
    square = (y * y - 1) * pow(_ED_D * y * y + 1, -1, _ED_P) % _ED_P
    root = pow(square, (_ED_P + 3) // 8, _ED_P)
    if (root * root - square) % _ED_P:
        root = root * _ED_SQRT_MINUS_1 % _ED_P
    if (root * root - square) % _ED_P or (root == 0 and sign):
        raise _malformed("it is no point of the curve")


def _p256_y(raw: bytes) -> int:
    # SEC 1 section 2.3.4, compressed form only.
    if len(raw) != _NIST_BYTES or raw[0] not in (2, 3):
        raise _malformed(f"a P-256 key is a compressed point of {_NIST_BYTES} bytes")
    x = int.from_bytes(raw[1:], "big")
    square = (x * x * x - 3 * x + _NIST_B) % _NIST_P
    root = pow(square, (_NIST_P + 1) // 4, _NIST_P)
    if x >= _NIST_P or (root * root - square) % _NIST_P:
        raise _malformed("it is no point of the curve")
    return root if root & 1 == raw[0] & 1 else _NIST_P - root


def _malformed(why: str) -> TrustError:
    return TrustError("malformed-key", "this is not a public key", why=why)
