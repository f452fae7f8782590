from __future__ import annotations

from pathlib import Path

import pytest

from patchpm.errors import UsageError
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.project.project_file import (
    load_project_file,
    new_project_text,
    read_project_file,
    with_patch,
    without_patch,
)

TEXT = """\
# Our safety patches
[bases]
smollm2 = "models/SmolLM2"  # the small one

[patches]
# asked for by the trust team
"acme/toxicity" = "^1.2"
"""


def test_a_project_says_what_it_wants() -> None:
    project = read_project_file(TEXT)
    assert project.bases == {"smollm2": "models/SmolLM2"}
    assert {str(name): str(wanted) for name, wanted in project.patches.items()} == {"acme/toxicity": "^1.2"}
    assert (project.anchor, project.max_tokens) == ("system-start", 256)
    assert project.origin(PatchName.parse("acme/toxicity")) == "patchpm.toml:7"


def test_adding_and_removing_a_patch_keeps_comments_and_layout() -> None:
    name = PatchName.parse("acme/bias")
    added = with_patch(TEXT, name, Range.parse("1.x"))
    assert "# asked for by the trust team" in added
    assert name in read_project_file(added).patches
    assert without_patch(added, name) == TEXT


def test_a_new_project_file_is_valid() -> None:
    project = read_project_file(new_project_text("smollm2-135m", "hf:org/model@abc"))
    assert project.bases == {"smollm2-135m": "hf:org/model@abc"}
    assert not project.patches


def test_the_digest_depends_on_what_is_wanted_only() -> None:
    digest = read_project_file(TEXT).digest
    assert read_project_file(TEXT.replace("models/SmolLM2", "/elsewhere")).digest == digest
    assert read_project_file(TEXT.replace("# the small one", "")).digest == digest
    assert read_project_file(TEXT.replace("^1.2", "^1.3")).digest != digest
    assert read_project_file(TEXT + "[compose]\nmax-tokens = 100\n").digest != digest
    assert read_project_file(TEXT + '[compose]\nanchor = "text-start"\n').digest != digest


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "bases"),
        ("[bases]\n", "patches"),
        ("[bases\n", "not TOML"),
        ('[bases]\n"A b" = "m"\n[patches]\n', "A b"),
        ("[bases]\nx = 1\n[patches]\n", "x"),
        ('[bases]\n[patches]\ntoxicity = "1"\n', "toxicity"),
        ('[bases]\n[patches]\n"a/b" = "one"\n', "a/b"),
        ('[bases]\n[patches]\n[compose]\nanchor = "middle"\n', "anchor"),
        ("[bases]\n[patches]\n[compose]\nmax-tokens = 0\n", "max-tokens"),
        ("[bases]\n[patches]\n[surprise]\n", "surprise"),
    ],
)
def test_a_wrong_project_file_is_refused_and_the_place_named(text: str, place: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_project_file(text)
    assert refusal.value.code == "malformed-project"
    assert place in refusal.value.what + refusal.value.why


def test_a_folder_without_a_project_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        load_project_file(tmp_path)
    assert refusal.value.code == "no-project"
    assert "patchpm init" in (refusal.value.next or "")
