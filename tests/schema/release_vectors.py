"""One whole release, signed by two keys that everybody has, and from it the statements, envelopes and index entries."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from patchpm.patch.digest import Digest
from patchpm.patch.manifest import Claim, FileRef, Manifest, Prefix
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.release import ReleaseFiles
from patchpm.registry.entry_json import indexed_base, to_target
from patchpm.registry.index import ReleaseEntry
from patchpm.trust.attestations import attest, read_attestations, sign_release
from patchpm.trust.envelope import write_envelope
from patchpm.trust.evaluation import Evaluation, SuiteRef
from patchpm.trust.private_keys import PrivateKey
from patchpm.trust.statement import EVALUATION, EVALUATION_V1, Statement, subjects_of, write_statement
from tests.builders import base, digest, manifest
from tests.schema.edits import ABSENT, Path, json_text, put

SIGNERS: Final = tuple(
    PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)))
    for seed in (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    )
)
"""The first two key pairs of RFC 8032 section 7.1. Nobody must ever trust them."""
_ROWS: Final = PrefixMatrix("BF16", 2, 4, bytes.fromhex("803f 00bf 0000 0040 0080 40c0 803e cdbd"))
"""1, -0.5, 0, 2; -0, -3, 0.25, -0.1."""


def release() -> ReleaseFiles:
    """The three files."""
    prefix = write_prefix(_ROWS)
    about = _manifest(prefix)
    files = sign_release(write_manifest(about), prefix, SIGNERS)
    return attest(files, EVALUATION, _EVALUATION.to_json(), SIGNERS[1:])


def entry() -> ReleaseEntry:
    """How a registry lists it."""
    files = release()
    about = _manifest(files.prefix)
    refs = [FileRef(len(data), Digest.of(data)) for _, data in files.items()]
    return ReleaseEntry(
        name=about.name,
        version=about.version,
        domain=about.domain,
        summary=about.summary,
        base=indexed_base(about.base),
        tokens=about.prefix.tokens,
        anchors=about.prefix.anchors,
        compose=about.compose,
        manifest=refs[0],
        prefix=refs[1],
        attestations=refs[2],
        published="2026-11-24T12:00:00Z",
        yanked=None,
        registry="corp",
    )


def good(kind: str) -> dict[str, bytes]:
    """File name to bytes."""
    release_line, evaluation = (item.envelope for item in read_attestations(release().attestations))
    whole = entry()
    about = subjects_of(release().manifest, release().prefix)
    bare = Statement(EVALUATION_V1, about, {"suite": "held-out", "figures": {"toxic-rate": 0.1}})
    files: dict[str, dict[str, bytes]] = {
        "statement": {
            "release.json": release_line.payload,
            "evaluation.json": evaluation.payload,
            "evaluation-v1.json": write_statement(bare),
        },
        "envelope": {
            "two-signatures.json": write_envelope(release_line),
            "one-signature.json": write_envelope(evaluation),
        },
        "index-entry": {
            "release.json": _custom(whole),
            "yanked.json": _custom(replace(whole, yanked="replies in the wrong language")),
            "deprecated.json": _custom(replace(whole, deprecated="use 1.3")),
        },
    }
    return files[kind]


def bad(kind: str) -> dict[str, bytes]:
    """File name to bytes; each differs from a good document in one thing."""
    start = {"statement": "release.json", "envelope": "two-signatures.json", "index-entry": "release.json"}[kind]
    value = json.loads(good(kind)[start])
    edits = _envelopes(value) if kind == "envelope" else {"statement": _STATEMENTS, "index-entry": _ENTRIES}[kind]
    files = {f"{name}.json": json_text(put(value, path, new)) for name, (path, new) in edits.items()}
    if kind == "statement":
        evaluation = json.loads(good(kind)["evaluation.json"])
        files |= {
            f"evaluation-{name}.json": json_text(put(evaluation, ("predicate", *path), new))
            for name, (path, new) in _EVALUATIONS.items()
        }
    text = json_text(value)
    first = next(iter(value)).encode()
    files["duplicate-key.json"] = text.replace(b'"%b"' % first, b'"%b": "",\n  "%b"' % (first, first), 1)
    files["a-list.json"] = b"[" + text + b"]"
    return files


def _manifest(prefix: bytes) -> Manifest:
    described = Prefix(FileRef(len(prefix), Digest.of(prefix)), 2, "BF16", ("system-start",), "")
    made = manifest(version="1.2.0", requires={"acme/core": "^1"}, base=base("tiny", hidden_size=4))
    return replace(made, prefix=described)


def _custom(of: ReleaseEntry) -> bytes:
    return json_text(to_target(of).custom)


def _envelopes(value: dict[str, Any]) -> dict[str, tuple[Path, object]]:
    first, second = value["signatures"]
    payload = value["payload"]
    assert payload.endswith("=")
    before = payload.rstrip("=")
    stray = before[:-1] + chr(ord(before[-1]) + 1) + "=" * (len(payload) - len(before))
    assert base64.b64decode(stray) == base64.b64decode(payload)
    return {
        "payload-type-missing": (("payloadType",), ABSENT),
        "payload-type-other": (("payloadType",), "application/json"),
        "payload-empty": (("payload",), ""),
        "payload-without-padding": (("payload",), before),
        "payload-url-safe": (("payload",), "_" + payload[1:]),
        "payload-with-line-feed": (("payload",), payload[:76] + "\n" + payload[76:]),
        "payload-with-stray-bits": (("payload",), stray),
        "surplus-field": (("comment",), "fine"),
        "signatures-none": (("signatures",), []),
        "signatures-33": (("signatures",), [{**first, "keyid": f"{n:064x}"} for n in range(33)]),
        "signatures-not-sorted": (("signatures",), [second, first]),
        "signature-twice": (("signatures",), [first, first]),
        "two-signatures-of-one-key": (("signatures",), [first, {**first, "sig": second["sig"]}]),
        "signature-with-certificate": (("signatures", 0, "cert"), "x"),
        "signature-empty": (("signatures", 0, "sig"), ""),
        "key-id-upper-case": (("signatures", 0, "keyid"), first["keyid"].upper()),
        "key-id-short": (("signatures", 0, "keyid"), first["keyid"][:8]),
    }


_SUBJECT: Final = ("subject", 0)
_STATEMENTS: Final[dict[str, tuple[Path, object]]] = {
    "type-v0.1": (("_type",), "https://in-toto.io/Statement/v0.1"),
    "surplus-field": (("surprise",), 1),
    "subject-missing": (("subject", 1), ABSENT),
    "subjects-in-another-order": (
        ("subject",),
        [{"name": name, "digest": {"sha256": "0" * 64}} for name in ("prefix.safetensors", "manifest.json")],
    ),
    "subject-is-a-third-file": (
        ("subject",),
        [
            {"name": name, "digest": {"sha256": "0" * 64}}
            for name in ("manifest.json", "prefix.safetensors", "attestations.jsonl")
        ],
    ),
    "subject-is-a-path": ((*_SUBJECT, "name"), "./manifest.json"),
    "subject-by-sha1-too": ((*_SUBJECT, "digest", "sha1"), "0" * 40),
    "subject-without-digest": ((*_SUBJECT, "digest"), {}),
    "subject-digest-prefixed": ((*_SUBJECT, "digest", "sha256"), "sha256:" + "0" * 64),
    "predicate-is-text": (("predicate",), "fine"),
    "predicate-type-without-tls": (("predicateType",), "http://patchpm.dev/release/v1"),
    "predicate-type-missing": (("predicateType",), ABSENT),
    "release-without-base": (("predicate", "base"), ABSENT),
    "release-with-surplus-field": (("predicate", "date"), "2026-11-24"),
    "release-bad-name": (("predicate", "name"), "toxicity"),
    "release-bad-version": (("predicate", "version"), "1.2"),
}

_EVALUATION: Final = Evaluation(
    suites=(SuiteRef("general", digest("general")), SuiteRef("toxicity", digest("toxicity"))),
    judge="profanity-model",
    base=base("tiny").tensors,
    code="patchpm 0.1.0",
    claims=(
        Claim("average-max-toxicity", "held-out-toxic", 350, 0.52, 0.21, 0.18, 0.24),
        Claim("over-refusal-rate", "held-out-benign", 340, 0.0, 0.0118, 0.0046, 0.0299),
    ),
)
_EVALUATIONS: Final[dict[str, tuple[Path, object]]] = {
    "surplus-field": (("approved",), True),
    "without-schema": (("schema",), ABSENT),
    "schema-2": (("schema",), 2),
    "limited": (("limited",), True),
    "without-limited": (("limited",), ABSENT),
    "without-suites": (("suites",), []),
    "suite-without-digest": (("suites", 0, "sha256"), ABSENT),
    "suite-with-path": (("suites", 0, "name"), "suites/general"),
    "suite-twice": (("suites", 1, "name"), "general"),
    "suites-not-sorted": (("suites", 0, "name"), "zebra"),
    "without-judge": (("judge",), ABSENT),
    "judge-bidi": (("judge",), "calm\u202ejudge"),
    "base-bare": (("base",), "0" * 64),
    "without-code": (("code",), ABSENT),
    "without-claims": (("claims",), []),
    "claim-with-surplus-field": (("claims", 0, "star"), 5),
    "claim-outside-its-interval": (("claims", 0, "after"), 0.5),
    "claim-twice": (
        ("claims",),
        [{"metric": "icat", "suite": "s", "n": 1, "before": 0, "after": 0, "low": 0, "high": high} for high in (1, 2)],
    ),
}

_ENTRIES: Final[dict[str, tuple[Path, object]]] = {
    "surplus-field": (("surprise",), 1),
    "domain-unknown": (("domain",), "everything"),
    "summary-bidi": (("summary",), "calm\u202egnp.exe"),
    "base-of-another-path": (("base", "tensors"), "sha256:" + "0" * 64),
    "tokens-zero": (("tokens",), 0),
    "tokens-257": (("tokens",), 257),
    "anchors-three": (("anchors",), ["system-start", "text-start", "system-start"]),
    "compose-missing": (("compose",), ABSENT),
    "requires-bad-range": (("compose", "requires"), {"acme/core": "newest"}),
    "conflicts-bad-name": (("compose", "conflicts"), {"core": "*"}),
    "prefix-over-8-mib": (("prefix", "size"), 8 * 2**20 + 1),
    "attestations-over-1-mib": (("attestations", "size"), 2**20 + 1),
    "attestations-missing": (("attestations",), ABSENT),
    "published-with-offset": (("published",), "2026-11-24T12:00:00+00:00"),
    "published-date-only": (("published",), "2026-11-24"),
    "published-missing": (("published",), ABSENT),
    "yanked-is-true": (("yanked",), True),
    "yanked-without-reason": (("yanked",), ""),
}

_COMMON: Final = {"duplicate-key.json": "a key stands twice in one object"}
UNSEEN: Final = {
    "statement": _COMMON
    | {
        "evaluation-suite-twice.json": "two suites of one name",
        "evaluation-suites-not-sorted.json": "the order of suites",
        "evaluation-claim-outside-its-interval.json": "low <= after <= high compares fields",
        "evaluation-claim-twice.json": "two figures of one metric on the same rows",
    },
    "envelope": _COMMON
    | {
        "signatures-not-sorted.json": "the order of key ids",
        "signature-twice.json": "two signatures of one key",
        "two-signatures-of-one-key.json": "two signatures of one key",
    },
    "index-entry": _COMMON | {"base-of-another-path.json": "the digits in the path are those of another base"},
}
