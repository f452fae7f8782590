"""`policy.toml`: reading it strictly, and editing it in place so that comments and layout stay.

version = 1
max-norm-ratio = 8.0                  # all four of these are optional
base-assurance = "cached"             # or "verified", "declared"
max-tokens = 256
[[registry]]
alias = "corp"
url = "/srv/patches"
root = "sha256:..."
namespaces = ["acme", "labx"]         # or ["*"]
[[vendor]]
name = "acme"
keys = ["ed25519:...", "p256:..."]
threshold = 2
domains = ["toxicity"]                # optional
[[evaluator]]
name = "labx"
keys = ["ed25519:..."]
threshold = 1
[[require]]
match = "acme/*"
evaluators = ["labx"]                 # optional
min-age = "24h"                       # optional
[[deny]]
match = "acme/old-*"
reason = "superseded"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final, TypeVar

from patchpm.errors import UsageError
from patchpm.patch import strict_toml
from patchpm.patch.fingerprint import Assurance
from patchpm.patch.manifest import MAX_TOKENS
from patchpm.patch.manifest_json import DOMAIN_PATTERN
from patchpm.patch.name import check_vendor
from patchpm.patch.record import Record
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import (
    ANY_VENDOR,
    DEFAULT_MAX_NORM_RATIO,
    Demand,
    Denial,
    EvaluatorTrust,
    KeySet,
    NamePattern,
    Policy,
    RegistryTrust,
    VendorTrust,
    key_set,
)

VERSION: Final = 1
FILE: Final = "policy.toml"
_CODE: Final = "malformed-policy"
_ALIAS: Final = r"[a-z0-9]([a-z0-9-]{0,37}[a-z0-9])?"
_MATCH: Final = r"[a-z0-9*-]{1,39}/[a-z0-9*-]{1,39}"
_AGE: Final = r"[0-9]{1,4}[hd]"
_MAX_SET_TOKENS: Final = 16 * MAX_TOKENS
_HEADER: Final = f"# Whom patchpm trusts. `patchpm trust` edits this file.\nversion = {VERSION}\n"

_T = TypeVar("_T")


def read_policy(text: str, *, place: str = FILE) -> Policy:
    """Read the text of a policy; only this one layer, see `policy_layers`.

    Args:
        text: TOML.
        place: Which file it is, for errors.

    Raises:
        UsageError: `malformed-policy` with the place and the reason, `unknown-format` for a newer version.
    """
    value = strict_toml.loads(text, source=place, code=_CODE, error=UsageError)
    record = Record(value, place, code=_CODE, error=UsageError)
    version = record.integer("version", low=0, high=2**31)
    if version != VERSION:
        raise UsageError(
            "unknown-format",
            f"{place} is of another version",
            why=f"{version}; known is {VERSION}",
            next="update patchpm",
        )
    policy = Policy(
        registries=_each(record, "registry", _registry),
        vendors=_each(record, "vendor", _vendor),
        evaluators=_each(record, "evaluator", _evaluator),
        demands=_each(record, "require", _demand),
        denials=_each(record, "deny", _denial),
        max_norm_ratio=_norm_ratio(record),
        base_assurance=_assurance(record),
        max_tokens=record.integer("max-tokens", low=1, high=_MAX_SET_TOKENS) if record.has("max-tokens") else None,
    )
    record.done()
    return policy


def with_registry(text: str | None, registry: RegistryTrust) -> str:
    """Add a registry to the text of a policy, or replace the one of this alias.

    Args:
        text: What the file holds now; None where there is none yet.
        registry: What to write.
    """
    fields = {
        "alias": registry.alias,
        "url": registry.url,
        "root": str(registry.root),
        "namespaces": list(registry.namespaces),
    }
    return _with(text, "registry", "alias", fields)


def with_vendor(text: str | None, vendor: VendorTrust) -> str:
    """Add the pins for a vendor to the text of a policy, or replace them."""
    fields = {"name": vendor.name, **_key_fields(vendor.keys)}
    if vendor.domains:
        fields["domains"] = list(vendor.domains)
    return _with(text, "vendor", "name", fields)


def with_evaluator(text: str | None, evaluator: EvaluatorTrust) -> str:
    """Add an evaluator to the text of a policy, or replace it."""
    return _with(text, "evaluator", "name", {"name": evaluator.name, **_key_fields(evaluator.keys)})


def with_denial(text: str | None, denial: Denial) -> str:
    """Add a denial to the text of a policy, or replace that of the same pattern."""
    return _with(text, "deny", "match", {"match": denial.match.text, "reason": denial.reason})


def without(text: str, table: str, name: str) -> str:
    """Take an entry out of the text of a policy.

    Args:
        text: What the file holds now.
        table: `registry`, `vendor`, `evaluator` or `deny`.
        name: Its alias, name or pattern.

    Raises:
        UsageError: `not-in-policy`, or `malformed-policy`.
    """
    import tomlkit

    read_policy(text)
    document = tomlkit.parse(text)
    kept = [item for item in document.get(table, []) if name not in (item.get(key) for key in _NAMES)]
    if len(kept) == len(document.get(table, [])):
        raise UsageError("not-in-policy", f"the policy has no {table} {name[:80]!r}")
    _put(document, table, kept)
    return tomlkit.dumps(document)


_NAMES: Final = ("alias", "name", "match")


def _with(text: str | None, table: str, key: str, fields: Mapping[str, object]) -> str:
    import tomlkit

    text = _HEADER if text is None else text
    read_policy(text)
    document = tomlkit.parse(text)
    made = tomlkit.table()
    for field, value in fields.items():
        made[field] = value
    items = list(document.get(table, []))
    places = [number for number, item in enumerate(items) if item[key] == fields[key]]
    if places:
        items[places[0]] = made
    else:
        items.append(made)
    _put(document, table, items)
    edited = tomlkit.dumps(document)
    read_policy(edited)
    return edited


def _put(document: object, table: str, items: Iterable[object]) -> None:
    import tomlkit

    assert isinstance(document, tomlkit.TOMLDocument)
    made = tomlkit.aot()
    for item in items:
        assert isinstance(item, tomlkit.items.Table)
        made.append(item)
    document.pop(table, None)
    if len(made):
        document[table] = made


def _key_fields(keys: KeySet) -> dict[str, object]:
    return {"keys": [str(key) for key in keys.sorted()], "threshold": keys.threshold}


def _each(record: Record, table: str, read: Callable[[Record], _T]) -> tuple[_T, ...]:
    if not record.has(table):
        return ()
    found = []
    for item in record.records(table):
        found.append(read(item))
        item.done()
    return tuple(found)


def _registry(record: Record) -> RegistryTrust:
    namespaces = record.texts("namespaces", max_length=39)
    for vendor in namespaces:
        if vendor != ANY_VENDOR:
            _vendor_name(record, "namespaces", vendor)
    if not namespaces:
        raise record.refuse("must name the vendors that it may serve, or *", "namespaces")
    return RegistryTrust(
        alias=record.text("alias", pattern=_ALIAS),
        url=record.text("url", max_length=1000),
        root=record.digest("root"),
        namespaces=tuple(sorted(set(namespaces))),
    )


def _vendor(record: Record) -> VendorTrust:
    domains = record.texts("domains", max_length=40) if record.has("domains") else ()
    for domain in domains:
        Record({"domains": domain}, record.place, code=_CODE, error=UsageError).text("domains", pattern=DOMAIN_PATTERN)
    return VendorTrust(_vendor_name(record, "name", record.text("name")), _keys(record), tuple(sorted(set(domains))))


def _evaluator(record: Record) -> EvaluatorTrust:
    return EvaluatorTrust(record.text("name", pattern=_ALIAS), _keys(record))


def _demand(record: Record) -> Demand:
    evaluators = record.texts("evaluators", max_length=39) if record.has("evaluators") else ()
    age = record.text("min-age", pattern=_AGE) if record.has("min-age") else "0h"
    unit = timedelta(days=1) if age.endswith("d") else timedelta(hours=1)
    return Demand(_match(record), tuple(sorted(set(evaluators))), int(age[:-1]) * unit)


def _denial(record: Record) -> Denial:
    return Denial(_match(record), record.text("reason"))


def _match(record: Record) -> NamePattern:
    return NamePattern(record.text("match", pattern=_MATCH))


def _keys(record: Record) -> KeySet:
    texts = record.texts("keys", max_items=32, max_length=100)
    keys = [
        Record({"keys": text}, record.place, code=_CODE, error=UsageError).parse("keys", PublicKey.parse)
        for text in texts
    ]
    different = len(set(keys))
    if different != len(keys) or not keys:
        raise record.refuse("must list one or more keys, each once", "keys")
    return key_set(keys, record.integer("threshold", low=1, high=different))


def _vendor_name(record: Record, key: str, text: str) -> str:
    return Record({key: text}, record.place, code=_CODE, error=UsageError).parse(key, check_vendor)


def _norm_ratio(record: Record) -> float:
    if not record.has("max-norm-ratio"):
        return DEFAULT_MAX_NORM_RATIO
    ratio = record.number("max-norm-ratio")
    if not 0 < ratio <= 1000:
        raise record.refuse("lies outside 0 to 1000", "max-norm-ratio")
    return ratio


def _assurance(record: Record) -> Assurance:
    if not record.has("base-assurance"):
        return Policy().base_assurance
    names = tuple(level.name.lower() for level in Assurance)
    return Assurance[record.choice("base-assurance", names).upper()]
