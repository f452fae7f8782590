"""The formats that `registry_schema/` describes: for each its schema, how its files are parsed, and our own reader."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator
from tuf.api.metadata import TargetFile

from patchpm.errors import IntegrityError
from patchpm.export.provenance import parse_provenance
from patchpm.gateway.tenants import read_tenants
from patchpm.guard.reference_json import read_references
from patchpm.patch import strict_json
from patchpm.patch.manifest_json import read_manifest
from patchpm.project.lock_toml import read_lock
from patchpm.project.project_file import read_project_file
from patchpm.registry.entry_json import read_entry
from patchpm.trust.envelope import read_envelope
from patchpm.trust.evaluation import Evaluation
from patchpm.trust.policy_toml import read_policy
from patchpm.trust.statement import EVALUATION, RELEASE, ReleaseClaim, read_statement
from tests.builders import base

FOLDER = Path(__file__).parents[2] / "registry_schema"
VECTORS = FOLDER / "vectors"
UNSEEN = VECTORS / "beyond-schemas.json"
"""Bad vectors that no schema can tell from good ones, with what is wrong with them."""
ENTRY_BASE = base("tiny", files=(), tokenizer=None, template=None)
ENTRY_PATH = f"acme/toxicity/1.2.0/{ENTRY_BASE.short}"
"""Where the entries among the vectors stand in their role."""


@dataclass(frozen=True)
class Format:
    """One format."""

    name: str
    suffix: str
    read: Callable[[bytes], object]
    """Our reader: gives a value, or raises a `PatchpmError`."""

    def parse(self, data: bytes) -> Any:
        """Parse as a careless library does: the last of two keys wins, and NaN is a number.

        Raises:
            ValueError: for what is no document at all.
        """
        return tomllib.loads(data.decode()) if self.suffix == ".toml" else json.loads(data.decode())

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        found: dict[str, Any] = json.loads((FOLDER / f"{self.name}.v1.schema.json").read_bytes())
        return found

    def allows(self, value: object) -> bool:
        """Whether the schema accepts a parsed value."""
        return _validator(self.name).is_valid(value)

    def vectors(self, kind: str) -> Iterator[Path]:
        """The `good` or the `bad` files."""
        yield from sorted((VECTORS / self.name / kind).glob(f"*{self.suffix}"))


def _entry(data: bytes) -> object:
    custom = strict_json.loads(data, source="1.acme.json", max_bytes=2**20)
    if not isinstance(custom, dict):
        raise IntegrityError("malformed-metadata", "the entry is not an object")
    target = TargetFile(1000, {"sha256": "0" * 64}, ENTRY_PATH, {"custom": custom})
    return read_entry(ENTRY_PATH, target, "corp", "1.acme.json")


def _statement(data: bytes) -> object:
    statement = read_statement(data)
    if statement.predicate_type == EVALUATION:
        return Evaluation.read(statement)
    return ReleaseClaim.read(statement) if statement.predicate_type == RELEASE else statement


FORMATS = {
    item.name: item
    for item in (
        Format("manifest", ".json", read_manifest),
        Format("lock", ".toml", lambda data: read_lock(data.decode())),
        Format("project", ".toml", lambda data: read_project_file(data.decode())),
        Format("policy", ".toml", lambda data: read_policy(data.decode())),
        Format("statement", ".json", _statement),
        Format("envelope", ".json", read_envelope),
        Format("index-entry", ".json", _entry),
        Format("export", ".json", parse_provenance),
        Format("probes", ".json", read_references),
        Format("tenants", ".toml", lambda data: read_tenants(data.decode(), folder=Path())),
    )
}


def unseen() -> dict[str, dict[str, str]]:
    """By format, the bad vectors that its schema accepts, and why the reader does not."""
    found: dict[str, dict[str, str]] = json.loads(UNSEEN.read_bytes())
    return found


def _pattern(_: Draft202012Validator, pattern: str, value: object, __: object) -> Iterator[jsonschema.ValidationError]:
    # JSON Schema's patterns are those of ECMAScript, where `$` is the very end; Python's `$` lets a line feed follow.
    if isinstance(value, str) and re.search(pattern.replace("$", r"\Z"), value, re.ASCII) is None:
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]  # not in the stubs


@cache
def _validator(name: str) -> Draft202012Validator:
    made: Draft202012Validator = _Validator(FORMATS[name].schema)
    return made
