from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from patchpm.errors import PatchpmError
from patchpm.trust.keys import ED25519, P256, SCHEMES, PublicKey
from patchpm.trust.private_keys import PrivateKey, generate, is_encrypted, read_private_key, read_public_key
from tests.simulator import refused

RFC_8032_TEST_3 = {
    "secret": "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "public": "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "message": "af82",
    "signature": "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
}
RFC_6979_SAMPLE = {
    "secret": 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721,
    "r": 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
    "s": 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
}


def unencrypted(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, form: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_key_signs_it_verifies_and_nothing_else(scheme: str) -> None:
    key = generate(scheme)
    signature = key.sign(b"message")
    assert key.public.verify(signature, b"message")
    assert not key.public.verify(signature, b"massage")
    assert not key.public.verify(signature[:-1], b"message")
    assert not key.public.verify(b"", b"message")
    assert not generate(scheme).public.verify(signature, b"message")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_signing_twice_gives_the_same_bytes(scheme: str) -> None:
    key = generate(scheme)
    assert key.sign(b"message") == key.sign(b"message")


def test_ed25519_agrees_with_the_test_vector_of_rfc_8032() -> None:
    vector = {name: bytes.fromhex(text) for name, text in RFC_8032_TEST_3.items()}
    key = PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(vector["secret"]))
    assert key.public == PublicKey(ED25519, vector["public"])
    assert key.sign(vector["message"]) == vector["signature"]


def test_p256_agrees_with_the_test_vector_of_rfc_6979() -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    key = PrivateKey(ec.derive_private_key(RFC_6979_SAMPLE["secret"], ec.SECP256R1()))
    assert decode_dss_signature(key.sign(b"sample")) == (RFC_6979_SAMPLE["r"], RFC_6979_SAMPLE["s"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_text_form_is_read_back_and_the_id_is_the_digest_of_the_spki(scheme: str) -> None:
    key = generate(scheme)
    assert PublicKey.parse(str(key.public)) == key.public
    der = key._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.public.spki == der
    assert key.public.id == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519",
        "ed25519:",
        "ed25519:AAAA",
        "rsa:AAAA",
        "ed25519:!!!!",
        "p256:" + base64.b64encode(b"\x04" + bytes(32)).decode(),
        "p256:" + base64.b64encode(b"\x02" + b"\xff" * 32).decode(),
        "p256:" + base64.b64encode(b"\x02" + (5).to_bytes(32, "big")).decode()[:-4],
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with refused("malformed-key"):
        PublicKey.parse(text)


def test_half_of_all_x_coordinates_are_no_p256_point() -> None:
    points = 0
    for x in range(200):
        try:
            PublicKey(P256, b"\x02" + x.to_bytes(32, "big"))
        except PatchpmError:
            continue
        points += 1
    assert 60 < points < 140


def test_base64_with_stray_bits_or_without_padding_is_refused() -> None:
    text = str(generate().public)
    assert text.endswith("=")
    for changed in (text[:-1], text + "=", text.replace(":", ": "), text + "\n"):
        with refused("malformed-key"):
            PublicKey.parse(changed)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_encrypted_key_opens_with_its_passphrase_only(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchpm.trust.private_keys.BCRYPT_ROUNDS", 1)
    key = generate(scheme)
    data = key.to_openssh(b"correct horse")
    assert is_encrypted(data)
    assert read_private_key(data, b"correct horse").public == key.public
    with refused("wrong-passphrase"):
        read_private_key(data, b"wrong horse")
    with refused("passphrase-needed"):
        read_private_key(data)


def test_an_encrypted_key_costs_64_rounds_of_bcrypt() -> None:
    data = generate().to_openssh(b"x")
    blob = base64.b64decode(b"".join(data.splitlines()[1:-1]))
    start = blob.index(b"bcrypt") + 6
    options = blob[start + 4 : start + 4 + int.from_bytes(blob[start : start + 4], "big")]
    assert int.from_bytes(options[-4:], "big") == 64


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
@pytest.mark.parametrize("make", [ed25519.Ed25519PrivateKey.generate, lambda: ec.generate_private_key(ec.SECP256R1())])
def test_keys_of_other_tools_are_read(make: object, form: PrivateFormat) -> None:
    assert callable(make)
    key = make()
    data = unencrypted(key, form)
    assert not is_encrypted(data)
    assert read_private_key(data).public == PrivateKey(key).public
    assert read_private_key(data, b"needless").public == PrivateKey(key).public


def test_encrypted_pkcs8_is_read_too() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert read_private_key(data, b"secret").public == PrivateKey(key).public
    with refused("wrong-passphrase"):
        read_private_key(data, b"guess")
    with refused("passphrase-needed"):
        read_private_key(data)


def test_traditional_pem_of_openssl_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert read_private_key(unencrypted(key, PrivateFormat.TraditionalOpenSSL)).public == PrivateKey(key).public


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1()), ed448.Ed448PrivateKey.generate()],
    ids=["rsa", "p384", "ed448"],
)
def test_other_types_of_key_are_refused_with_advice(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey,
) -> None:
    with refused("unsupported-key", "Ed25519"):
        read_private_key(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with refused("unsupported-key"):
        read_public_key(public)
    with refused("unsupported-key"):
        generate("rsa")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n!!\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 70_000,
    ],
)
def test_what_is_no_private_key_is_refused(data: bytes) -> None:
    with refused("malformed-key"):
        read_private_key(data)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("encoding", "form"),
    [(Encoding.OpenSSH, PublicFormat.OpenSSH), (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)],
)
def test_public_keys_are_read_as_people_hand_them_out(scheme: str, encoding: Encoding, form: PublicFormat) -> None:
    key = generate(scheme)
    data = key._key.public_key().public_bytes(encoding, form)
    if encoding is Encoding.OpenSSH:
        data += b" someone@somewhere\n"
    assert read_public_key(data) == key.public
    assert read_public_key(f"{key.public}\n".encode()) == key.public


def test_what_is_no_public_key_is_refused() -> None:
    for data in (b"", b"ssh-ed25519 AAAA x", b"-----BEGIN PUBLIC KEY-----\n"):
        with refused("malformed-key"):
            read_public_key(data)


def test_a_private_key_does_not_print_itself() -> None:
    key = generate()
    assert repr(key) == f"PrivateKey({key.public})"
