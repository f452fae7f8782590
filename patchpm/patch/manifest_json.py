"""Reading and writing `manifest.json`. The reader is closed: what it does not know, it refuses.

The pieces that the registry's index and the lock share with the manifest (`base`, `compose`, file references) are
public.
"""

from __future__ import annotations

from patchpm.errors import IntegrityError, UsageError
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.manifest import (
    ANCHORS,
    DOMAINS,
    DTYPES,
    MAX_TOKENS,
    Claim,
    Compose,
    FileRef,
    Manifest,
    Prefix,
    Training,
    TrainingData,
)
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.record import Record
from patchpm.patch.release import MANIFEST, MAX_BYTES, PREFIX
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version

FORMAT = "patchpm-manifest-v1"
"""First field of every manifest."""
KIND = "prefix"
DOMAIN_PATTERN = rf"({'|'.join(DOMAINS)}|x-[a-z0-9]([a-z0-9-]{{0,35}}[a-z0-9])?)"
_FILE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}(/[A-Za-z0-9][A-Za-z0-9._-]{0,200}){0,3}"
_LABEL_PATTERN = r"[a-z][a-z0-9-]{0,39}"
_LINK_PATTERN = r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?"
_MAX_WIDTH = 65_536
MAX_RELATIONS = 200
"""Most patches that one list of `compose` names."""


def read_manifest(data: bytes) -> Manifest:
    """Read the bytes of a `manifest.json`.

    Raises:
        IntegrityError: `malformed-json`, `malformed-manifest`, or `unknown-format` for a manifest of a newer patchpm.
    """
    value = strict_json.loads(data, source=MANIFEST, max_bytes=MAX_BYTES[MANIFEST])
    record = Record(value, MANIFEST, code="malformed-manifest")
    _check_format(record)
    manifest = Manifest(
        kind=KIND,
        name=record.parse("name", PatchName.parse),
        version=record.parse("version", Version.parse),
        domain=record.text("domain", pattern=DOMAIN_PATTERN),
        summary=record.text("summary", max_length=200),
        licence=record.text("licence", pattern=r"[A-Za-z0-9.+() -]{1,100}"),
        base=base_from(record.record("base")),
        prefix=_prefix(record.record("prefix")),
        compose=compose_from(record.record("compose")),
        training=training_from(record.record("training")),
        claims=_claims(record),
        links=_links(record.record("links")),
    )
    record.done()
    return manifest


def write_manifest(manifest: Manifest) -> bytes:
    """Write a manifest. The same value always gives the same bytes, and what is written can be read back.

    Raises:
        UsageError: `invalid-manifest` where a field holds what no reader would take.
    """
    data = strict_json.dumps(
        {
            "format": FORMAT,
            "kind": manifest.kind,
            "name": str(manifest.name),
            "version": str(manifest.version),
            "domain": manifest.domain,
            "summary": manifest.summary,
            "licence": manifest.licence,
            "base": base_to_json(manifest.base),
            "prefix": {
                **file_to_json(manifest.prefix.file),
                "tokens": manifest.prefix.tokens,
                "dtype": manifest.prefix.dtype,
                "anchors": list(manifest.prefix.anchors),
                "separator": manifest.prefix.separator,
            },
            "compose": compose_to_json(manifest.compose),
            "training": _training_to_json(manifest.training),
            "claims": [claim_to_json(claim) for claim in manifest.claims],
            "links": dict(manifest.links),
        }
    )
    try:
        again = read_manifest(data)
    except IntegrityError as error:
        raise UsageError("invalid-manifest", "this manifest would be refused by every reader", why=error.why) from None
    if again != manifest:
        raise UsageError("invalid-manifest", "this manifest is not in normal form", why="its lists are not sorted")
    return data


def file_to_json(file: FileRef) -> dict[str, JsonValue]:
    """Write a file reference as `size` and `sha256`."""
    return {"size": file.size, "sha256": str(file.digest)}


def file_from(record: Record, file: str) -> FileRef:
    """Read `size` and `sha256` of the release's file named `file`."""
    return FileRef(record.integer("size", low=1, high=MAX_BYTES[file]), record.digest("sha256"))


def base_to_json(base: BaseModel) -> dict[str, JsonValue]:
    """Write the base model that a release is made for."""
    return {
        "name": base.name,
        "hidden_size": base.hidden_size,
        "tensors": str(base.tensors),
        "bf16": _digest_or_null(base.bf16),
        "quantised": [str(digest) for digest in base.quantised],
        "files": {path: str(digest) for path, digest in base.files},
        "tokenizer": _digest_or_null(base.tokenizer),
        "template": _digest_or_null(base.template),
    }


def base_from(record: Record) -> BaseModel:
    """Read the base model that a release is made for."""
    files = record.record("files")
    base = BaseModel(
        name=record.text("name", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"),
        hidden_size=record.integer("hidden_size", low=1, high=_MAX_WIDTH),
        tensors=record.digest("tensors"),
        bf16=_digest_or_none(record, "bf16"),
        quantised=_quantised(record),
        files=tuple((path, files.digest(path)) for path in sorted(files.keys())),
        tokenizer=_digest_or_none(record, "tokenizer"),
        template=_digest_or_none(record, "template"),
    )
    for path, _ in base.files:
        Record({"path": path}, files.place, code="malformed-manifest").text("path", pattern=_FILE_PATTERN)
    files.done()
    record.done()
    return base


def compose_to_json(compose: Compose) -> dict[str, JsonValue]:
    """Write how a release composes."""
    return {
        "requires": {str(name): str(wanted) for name, wanted in compose.requires},
        "conflicts": {str(name): str(wanted) for name, wanted in compose.conflicts},
        "before": [str(name) for name in compose.before],
        "after": [str(name) for name in compose.after],
    }


def compose_from(record: Record) -> Compose:
    """Read how a release composes; lists come back sorted."""
    compose = Compose(
        requires=_ranges(record.record("requires")),
        conflicts=_ranges(record.record("conflicts")),
        before=_names(record, "before"),
        after=_names(record, "after"),
    )
    record.done()
    return compose


def anchors_from(record: Record) -> tuple[str, ...]:
    """Read where a prefix may stand."""
    anchors = record.texts("anchors", max_items=len(ANCHORS))
    if not anchors or not set(anchors) <= set(ANCHORS) or len(set(anchors)) != len(anchors):
        raise record.refuse(f"must name one or more of {', '.join(ANCHORS)}, each once", "anchors")
    return anchors


def _check_format(record: Record) -> None:
    for key, known in (("format", FORMAT), ("kind", KIND)):
        found = record.text(key, max_length=80)
        if found != known:
            raise IntegrityError(
                "unknown-format",
                f"{MANIFEST} is of a {key} that this patchpm does not know",
                why=f"its {key} is {found!r}, and this version reads {known!r}",
                next="update patchpm",
            )


def _prefix(record: Record) -> Prefix:
    prefix = Prefix(
        file=file_from(record, PREFIX),
        tokens=record.integer("tokens", low=1, high=MAX_TOKENS),
        dtype=record.choice("dtype", tuple(DTYPES)),
        anchors=anchors_from(record),
        separator=_separator(record),
    )
    record.done()
    return prefix


def _quantised(record: Record) -> tuple[Digest, ...]:
    digests = [Digest.parse(text) for text in record.texts("quantised", max_items=64, max_length=71)]
    if len(set(digests)) != len(digests):
        raise record.refuse("names a digest twice", "quantised")
    return tuple(sorted(digests))


def _separator(record: Record) -> str:
    # Engines that join content parts put a line feed behind the prefix; nothing longer has been seen, so nothing else
    # is allowed.
    raw = record.raw("separator")
    if raw not in ("", "\n", " "):
        raise record.refuse("is neither empty, one space nor one line feed", "separator")
    return raw


def _ranges(record: Record) -> tuple[tuple[PatchName, Range], ...]:
    if len(record.keys()) > MAX_RELATIONS:
        raise record.refuse(f"names more than {MAX_RELATIONS} patches")
    found = []
    for key in sorted(record.keys()):
        name = Record({"name": key}, record.place, code="malformed-manifest").parse("name", PatchName.parse)
        found.append((name, record.parse(key, Range.parse)))
    record.done()
    return tuple(sorted(found, key=lambda pair: pair[0]))


def _names(record: Record, key: str) -> tuple[PatchName, ...]:
    names = []
    for text in record.texts(key, max_items=MAX_RELATIONS):
        names.append(Record({key: text}, record.place, code="malformed-manifest").parse(key, PatchName.parse))
    if len(set(names)) != len(names):
        raise record.refuse("names a patch twice", key)
    return tuple(sorted(names))


def training_from(record: Record) -> Training:
    """Read how a prefix came to be: a manifest's `training`, or the whole of a `training.json`."""
    training = Training(
        method=record.text("method", max_length=100),
        recipe=record.digest("recipe"),
        teacher=record.text("teacher", max_length=200),
        seed=record.integer("seed", low=0, high=2**32 - 1),
        code=record.text("code", max_length=100),
        data=tuple(_training_data(item) for item in record.records("data", max_items=100)),
    )
    record.done()
    return training


def _training_data(record: Record) -> TrainingData:
    data = TrainingData(
        record.text("name", max_length=100), record.text("licence", max_length=100), record.digest("sha256")
    )
    record.done()
    return data


def _training_to_json(training: Training) -> dict[str, JsonValue]:
    return {
        "method": training.method,
        "recipe": str(training.recipe),
        "teacher": training.teacher,
        "seed": training.seed,
        "code": training.code,
        "data": [{"name": d.name, "licence": d.licence, "sha256": str(d.digest)} for d in training.data],
    }


def claims_from(record: Record) -> tuple[Claim, ...]:
    """Read an object whose one field is `claims`: what a `claims.json` lists."""
    claims = _claims(record)
    record.done()
    return claims


def _claims(record: Record) -> tuple[Claim, ...]:
    return tuple(_claim(item) for item in record.records("claims", max_items=200))


def _claim(record: Record) -> Claim:
    claim = Claim(
        metric=record.text("metric", pattern=_LABEL_PATTERN),
        suite=record.text("suite", max_length=100),
        n=record.integer("n", low=1, high=10**9),
        before=record.number("before"),
        after=record.number("after"),
        low=record.number("low"),
        high=record.number("high"),
    )
    if not claim.low <= claim.after <= claim.high:
        raise record.refuse("lies outside its own interval", "after")
    record.done()
    return claim


def claim_to_json(claim: Claim) -> JsonValue:
    """Write one claim."""
    return {
        "metric": claim.metric,
        "suite": claim.suite,
        "n": claim.n,
        "before": claim.before,
        "after": claim.after,
        "low": claim.low,
        "high": claim.high,
    }


def _links(record: Record) -> tuple[tuple[str, str], ...]:
    links = []
    for key in sorted(record.keys()):
        label = Record({"label": key}, record.place, code="malformed-manifest").text("label", pattern=_LABEL_PATTERN)
        links.append((label, record.text(key, pattern=_LINK_PATTERN)))
    record.done()
    return tuple(links)


def _digest_or_null(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _digest_or_none(record: Record, key: str) -> Digest | None:
    return record.digest(key) if record.has(key) else None
