from __future__ import annotations

import re
from dataclasses import replace

import pytest

from patchpm.errors import IntegrityError, PatchpmError, StaleLockError
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.project.files import check_fresh
from patchpm.project.lock import Composition, Lock, LockedBase, LockedRegistry, LockedRelease
from patchpm.project.lock_conflict import preferences
from patchpm.project.lock_toml import read_lock, write_lock
from patchpm.project.project_file import read_project_file
from tests.builders import digest, fingerprint

KEY = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def release(name: str = "acme/toxicity", version: str = "1.0.0", requires: tuple[str, ...] = ()) -> LockedRelease:
    return LockedRelease(
        name=PatchName.parse(name),
        version=Version.parse(version),
        base="tiny",
        short="0123456789ab",
        registry="builtin",
        domain="toxicity",
        tokens=3,
        manifest=FileRef(100, digest(f"{name} manifest")),
        prefix=FileRef(200, digest(f"{name} prefix")),
        attestations=FileRef(300, digest(f"{name} attestations")),
        threshold=1,
        signers=(KEY,),
        requires=tuple((PatchName.parse(text), Range.parse("^1")) for text in requires),
    )


def lock(*releases: LockedRelease) -> Lock:
    chosen = releases or (release(),)
    return Lock(
        requirements=digest("requirements"),
        bases=(LockedBase("tiny", fingerprint()),),
        registries=(LockedRegistry("builtin", 1, 4, 3, 2),),
        releases=chosen,
        compositions=(
            Composition("tiny", "system-start", tuple(item.name for item in chosen), 3 * len(chosen), digest("set")),
        ),
    )


def test_what_is_written_is_read_back() -> None:
    made = lock(release("acme/core"), release(requires=("acme/core",)))
    assert read_lock(write_lock(made)) == made
    assert write_lock(read_lock(write_lock(made))) == write_lock(made)


def test_a_lock_without_releases_is_a_lock() -> None:
    empty = Lock(digest("none"), (), (), (), ())
    assert read_lock(write_lock(empty)) == empty


def test_a_lock_names_no_host_and_no_time() -> None:
    assert not re.search(r"https?:|\d{4}-\d\d-\d\d|/home|file:", write_lock(lock()))


def test_comments_and_white_space_may_change() -> None:
    text = write_lock(lock())
    loose = "# reviewed\n\n" + text.replace(" = ", "  =  ").replace("\n", "  # fine\n").replace("[\n", "[ \n")
    assert read_lock(loose) == lock()


def test_any_other_changed_byte_is_refused() -> None:
    text = write_lock(lock())
    data = text.encode()
    accepted = []
    for place in range(len(data)):
        for bit in (1, 32):
            altered = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            try:
                found = read_lock(altered.decode("utf-8", "surrogateescape"))
            except PatchpmError:
                continue
            accepted.append((place, found))
    comment = len(text.splitlines()[0]) + 1
    white = {place for place in range(len(data)) if data[place : place + 1] in b" \n"}
    assert {place for place, _ in accepted} <= set(range(comment)) | white
    assert all(found == lock() for _, found in accepted)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tokens = 3", "tokens = 4"),
        ('version = "1.0.0"', 'version = "1.0.1"'),
        ("targets = 2", "targets = 1"),
        (KEY, "ed25519:iqYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo8="),
    ],
)
def test_a_lock_edited_by_hand_is_refused(before: str, after: str) -> None:
    text = write_lock(lock())
    assert before in text
    with pytest.raises(IntegrityError) as refusal:
        read_lock(text.replace(before, after, 1))
    assert refusal.value.code == "lock-altered"


@pytest.mark.parametrize("key", ["version", "revision"])
def test_a_lock_of_a_newer_patchpm_is_refused(key: str) -> None:
    text = re.sub(rf"^{key} = \d", f"{key} = 7", write_lock(lock()), flags=re.MULTILINE)
    with pytest.raises(IntegrityError) as refusal:
        read_lock(text)
    assert refusal.value.code == "unknown-format"


def test_a_lock_with_conflict_markers_says_what_to_run_and_still_gives_its_preferences() -> None:
    ours = write_lock(lock(release(version="1.2.0"))).splitlines(keepends=True)
    theirs = write_lock(lock(release(version="1.4.0"), release("acme/other"))).splitlines(keepends=True)
    text = "".join(["<<<<<<< ours\n", *ours, "=======\n", *theirs, ">>>>>>> theirs\n"])
    with pytest.raises(StaleLockError) as refusal:
        read_lock(text)
    assert refusal.value.code == "lock-conflict"
    assert {str(name): str(version) for name, version in preferences(text).items()} == {
        "acme/toxicity": "1.4.0",
        "acme/other": "1.0.0",
    }


def test_a_lock_of_other_requirements_is_stale() -> None:
    project = read_project_file('[bases]\ntiny = "m"\n[patches]\n"acme/toxicity" = "^1"\n')
    check_fresh(project, replace(lock(), requirements=project.digest))
    with pytest.raises(StaleLockError) as refusal:
        check_fresh(project, lock())
    assert refusal.value.code == "stale-lock"
