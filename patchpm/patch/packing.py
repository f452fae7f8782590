"""Making a manifest of what a vendor writes, what training and evaluation measured, and what is read off the prefix.

The vendor's part is `patch.toml`:

    name = "acme/toxicity"
    version = "1.2.0"
    domain = "toxicity"
    summary = "Answers without insults"
    licence = "Apache-2.0"
    base = "SmolLM2-135M-Instruct"
    anchors = ["system-start"]
"""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.errors import UsageError
from patchpm.patch import strict_json, strict_toml
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel, Fingerprint
from patchpm.patch.manifest import Compose, FileRef, Manifest, Prefix
from patchpm.patch.manifest_json import KIND, claims_from, compose_from, training_from
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import inspect_prefix
from patchpm.patch.record import Record
from patchpm.patch.version import Version

DESCRIPTION = "patch.toml"
TRAINING = "training.json"
CLAIMS = "claims.json"
_MAX_BYTES = 256 * 1024
_CODE = "malformed-manifest"


@dataclass(frozen=True, slots=True)
class Ingredients:
    """The files that a release is made of, as bytes."""

    description: str
    """Text of `patch.toml`."""
    prefix: bytes
    """`prefix.safetensors`."""
    training: bytes
    """`training.json`, as `patchpm train` writes it."""
    claims: bytes
    """`claims.json`, as `patchpm evaluate` writes it."""


def make_manifest(parts: Ingredients, base: Fingerprint, quantised: tuple[Digest, ...] = ()) -> Manifest:
    """Put a manifest together.

    Args:
        parts: What the vendor has.
        base: The base model the prefix was trained on, measured.
        quantised: `tensors` digests of quantised copies that the vendor vouches for.

    Raises:
        UsageError: `malformed-description`, or `base-mismatch` where prefix and base differ in width.
        IntegrityError: `malformed-prefix`, `malformed-json`, `malformed-manifest`.
    """
    value = strict_toml.loads(parts.description, source=DESCRIPTION, code="malformed-description", error=UsageError)
    record = Record(value, DESCRIPTION, code="malformed-description", error=UsageError)
    matrix = inspect_prefix(parts.prefix)
    if matrix.hidden_size != base.hidden_size or base.tensors is None:
        raise UsageError(
            "base-mismatch",
            "this prefix is not for this base model",
            why=f"the prefix is {matrix.hidden_size:,} wide and the model's embedding {base.hidden_size:,}",
        )
    manifest = Manifest(
        kind=KIND,
        name=record.parse("name", PatchName.parse),
        version=record.parse("version", Version.parse),
        domain=record.text("domain"),
        summary=record.text("summary"),
        licence=record.text("licence"),
        base=BaseModel(
            name=record.text("base"),
            tensors=base.tensors,
            bf16=base.bf16,
            quantised=tuple(sorted(quantised)),
            files=base.files,
            tokenizer=base.tokenizer,
            template=base.template,
            hidden_size=base.hidden_size,
        ),
        prefix=Prefix(
            file=FileRef(len(parts.prefix), Digest.of(parts.prefix)),
            tokens=matrix.tokens,
            dtype=matrix.dtype,
            anchors=record.texts("anchors"),
            separator=record.text("separator", empty=True) if record.has("separator") else "",
        ),
        compose=_compose(record),
        training=training_from(Record(_json(parts.training, TRAINING), TRAINING, code=_CODE)),
        claims=claims_from(Record({"claims": _json(parts.claims, CLAIMS)}, CLAIMS, code=_CODE)),
        links=_links(record),
    )
    record.done()
    return manifest


def _json(data: bytes, source: str) -> strict_json.JsonValue:
    return strict_json.loads(data, source=source, max_bytes=_MAX_BYTES)


def _compose(record: Record) -> Compose:
    empty: dict[str, object] = {"requires": {}, "conflicts": {}, "before": [], "after": []}
    given = record.table("compose") if record.has("compose") else {}
    return compose_from(Record({**empty, **given}, f"{DESCRIPTION}: compose", code=_CODE))


def _links(record: Record) -> tuple[tuple[str, str], ...]:
    if not record.has("links"):
        return ()
    links = record.record("links")
    return tuple((label, links.text(label)) for label in sorted(links.keys()))
