"""What a user asks for: `toxicity`, `toxicity@1.2`, `acme/toxicity@^1.2`."""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.errors import UsageError
from patchpm.patch.name import PatchName, check_vendor, is_segment
from patchpm.patch.ranges import Range


@dataclass(frozen=True, slots=True)
class Requirement:
    """A patch by its full or bare name, and the versions of it that are wanted."""

    vendor: str | None
    """None for a bare name, which is looked up among the vendors that the policy trusts."""
    name: str
    """The second half of the patch name."""
    range: Range | None
    """None for "the newest": the command line writes `^` and the version it found into the project file."""

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read `[vendor/]name[@range]`, as it stands on a command line.

        Raises:
            UsageError: `invalid-requirement` for the form, `invalid-name` and `invalid-range` for the parts.
        """
        full_name, at, wanted = text.strip().partition("@")
        vendor, slash, name = full_name.rpartition("/")
        if not is_segment(name) or (slash and "/" in vendor):
            raise _invalid(text, "expected name, name@range or vendor/name@range")
        if at and not wanted.strip():
            raise _invalid(text, "there is nothing after @; leave it away to get the newest version")
        return cls(check_vendor(vendor) if slash else None, name, Range.parse(wanted.strip()) if at else None)

    @property
    def patch(self) -> PatchName | None:
        """The full name, where the vendor is given."""
        return None if self.vendor is None else PatchName(self.vendor, self.name)

    def __str__(self) -> str:
        name = self.name if self.vendor is None else f"{self.vendor}/{self.name}"
        return name if self.range is None else f"{name}@{self.range}"


def _invalid(text: str, why: str) -> UsageError:
    return UsageError(
        "invalid-requirement",
        f"{text[:80]!r} is not a requirement",
        why=why,
        next="write toxicity, toxicity@1.2 or 'acme/toxicity@>=1.2 <2' (quote what the shell would read)",
    )
