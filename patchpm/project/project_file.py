"""`patchpm.toml`: what the user wants. Read strictly, edited in place so that comments and layout stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from patchpm.errors import CannotError, PatchpmError, UsageError
from patchpm.patch import strict_toml
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import ANCHORS, MAX_TOKENS
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.record import Record
from patchpm.patch.strict_json import JsonValue, compact

FILE = "patchpm.toml"
LABEL_PATTERN = r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"
"""What a base may be called within a project."""
_TEMPLATE = """\
# What this project needs. `patchpm install NAME` edits it, `patchpm.lock` pins it; commit both.

[bases]

[patches]
"""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """The requirements of a project."""

    bases: Mapping[str, str]
    """Label to location: a folder, a GGUF file, or `hf:org/repo@revision` in the Hub's local cache."""
    patches: Mapping[PatchName, Range]
    anchor: str
    """Where the set is applied: one of `ANCHORS`."""
    max_tokens: int
    """How many prefix tokens the whole set may cost."""
    lines: Mapping[str, int]
    """Line of each patch in the file, for explanations."""

    @property
    def digest(self) -> Digest:
        """Digest of the requirements in normal form: layout, comments and base locations do not count."""
        value: JsonValue = {
            "anchor": self.anchor,
            "bases": [*sorted(self.bases)],
            "max-tokens": self.max_tokens,
            "patches": {str(name): str(wanted) for name, wanted in self.patches.items()},
        }
        return Digest.of(b"patchpm-requirements-v1\n" + compact(value))

    def origin(self, name: PatchName) -> str:
        """Where a requirement stands: `patchpm.toml:7`."""
        line = self.lines.get(str(name))
        return FILE if line is None else f"{FILE}:{line}"


def read_project_file(text: str) -> ProjectFile:
    """Read the text of a `patchpm.toml`.

    Raises:
        UsageError: `malformed-project` with the place and the reason.
    """
    value = strict_toml.loads(text, source=FILE, code="malformed-project", error=UsageError)
    record = Record(value, FILE, code="malformed-project", error=UsageError)
    bases = record.record("bases")
    patches = record.record("patches")
    compose = record.record("compose") if record.has("compose") else Record({}, FILE, code="malformed-project")
    names = patches.keys()
    project = ProjectFile(
        bases={_label(label, bases): bases.text(label) for label in sorted(bases.keys())},
        patches=dict(sorted((_name(key, patches), patches.parse(key, Range.parse)) for key in names)),
        anchor=compose.choice("anchor", ANCHORS) if compose.has("anchor") else ANCHORS[0],
        max_tokens=compose.integer("max-tokens", low=1, high=16 * MAX_TOKENS)
        if compose.has("max-tokens")
        else MAX_TOKENS,
        lines=_lines(text),
    )
    compose.done()
    record.done()
    return project


def load_project_file(folder: Path) -> tuple[str, ProjectFile]:
    """Read `patchpm.toml` of a project folder, as text and as value.

    Raises:
        UsageError: `no-project` where there is none, or `malformed-project`.
    """
    path = folder / FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise UsageError(
            "no-project",
            f"there is no {FILE} here",
            why=f"looked in {folder}",
            next="run `patchpm init --base PATH_OF_MODEL` first, or name the folder with --project",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotError("unreadable-file", f"{FILE} cannot be read", why=f"{path}: {error}") from None
    return text, read_project_file(text)


def new_project_text(label: str, location: str) -> str:
    """The `patchpm.toml` that `patchpm init` writes."""
    return with_base(_TEMPLATE, label, location)


def with_base(text: str, label: str, location: str) -> str:
    """Add or replace a base."""
    return _edited(text, "bases", label, location)


def with_patch(text: str, name: PatchName, wanted: Range) -> str:
    """Add or replace a requirement."""
    return _edited(text, "patches", str(name), str(wanted))


def without_patch(text: str, name: PatchName) -> str:
    """Take a requirement out."""
    import tomlkit

    document = tomlkit.parse(text)
    patches = document["patches"]
    assert isinstance(patches, dict)  # read_project_file has seen this text
    patches.pop(str(name), None)
    return tomlkit.dumps(document)


def _edited(text: str, table: str, key: str, value: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    entries = document[table]
    assert isinstance(entries, dict)  # read_project_file has seen this text
    entries[key] = value
    return tomlkit.dumps(document)


def _label(label: str, record: Record) -> str:
    if re.fullmatch(LABEL_PATTERN, label, re.ASCII) is None:
        raise record.refuse("is no label: use up to 64 of a-z, 0-9, dot, hyphen, underscore", label[:80])
    return label


def _name(key: str, record: Record) -> PatchName:
    try:
        return PatchName.parse(key)
    except PatchpmError as error:
        raise record.refuse(f"is refused: {error.what}", key[:80]) from None


def _lines(text: str) -> dict[str, int]:
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key = re.match(r"""\s*["']?([a-z0-9-]+/[a-z0-9-]+)["']?\s*=""", line)
        if key is not None:
            found[key[1]] = number
    return found
