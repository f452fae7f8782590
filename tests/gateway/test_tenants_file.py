"""`tenants.toml`: what it may say, and that everything else is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchpm.errors import UsageError
from patchpm.gateway.tenants import load_tenants, read_tenants
from patchpm.patch.digest import Digest
from tests.simulator import refused

KEY = str(Digest.of(b"a key"))
OTHER = str(Digest.of(b"another key"))
TWO_OF_ONE_KEY = "".join(f'[[tenant]]\nname = "{name}"\nkeys = ["{KEY}"]\npatches = false\n' for name in ("ann", "bob"))


def test_a_tenant_has_keys_and_a_project_or_says_that_it_gets_no_patches() -> None:
    text = f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}"]\nproject = "ann"\nbase = "tiny"\n'
    text += f'[[tenant]]\nname = "bob"\nkeys = ["{OTHER}"]\npatches = false\n'
    ann, bob = read_tenants(text, folder=Path("/srv"))
    assert (ann.name, ann.project, ann.base) == ("ann", Path("/srv/ann"), "tiny")
    assert [str(key) for key in ann.keys] == [KEY]
    assert bob.project is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "tenant"),
        ("x", "TOML"),
        ("tenant = []", "no tenant"),
        ('[[tenant]]\nname = "ann"\nkeys = []\nproject = "a"', "nobody could be"),
        (f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}"]', "patches = false"),
        (f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}"]\npatches = true', "patches = false"),
        (f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}"]\npatches = false\nproject = "a"', "unused"),
        ('[[tenant]]\nname = "ann"\nkeys = ["sk-live-in-the-clear"]\npatches = false', "not a digest"),
        (f'[[tenant]]\nname = "Ann!"\nkeys = ["{KEY}"]\npatches = false', "form"),
        (f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}"]\npatches = false\nrate = 3', "unknown fields"),
        (f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}", "{KEY}"]\npatches = false', "a key of ann"),
        (f'[[tenant]]\nname = "ann"\nkeys = ["{KEY}"]\npatches = false\n' * 2, "twice"),
        (TWO_OF_ONE_KEY, "a key of ann"),
    ],
)
def test_what_it_may_not_say_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UsageError) as found:
        read_tenants(text, folder=Path())
    assert found.value.code == "malformed-tenants"
    assert said in str(found.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with refused("unreadable-file"):
        load_tenants(tmp_path / "tenants.toml")
