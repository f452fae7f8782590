from __future__ import annotations

import pytest

from patchpm.errors import ExitCode, ResolutionError
from patchpm.patch.version import Version
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.candidates import Pool
from patchpm.resolve.resolver import Edge, resolve
from patchpm.resolve.solve import solve
from tests.builders import base, fingerprint
from tests.resolve.shelf import TINY, Shelf, asked, named, release, several, target, versions


def test_the_highest_version_that_fits_is_chosen() -> None:
    shelf = Shelf(*several("a", "1.0.0 1.10.0 1.9.0 2.0.0"))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 2.0.0"]
    assert versions(resolve(asked("a@^1"), shelf, TINY)) == ["a 1.10.0"]


def test_what_a_patch_requires_comes_along() -> None:
    shelf = Shelf(*several("core", "1.0.0 1.1.0 2.0.0"), release("a@1.0.0", {"core": "^1"}), release("b@1.0.0"))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 1.0.0", "core 1.1.0"]


def test_an_older_version_is_chosen_where_the_newest_clashes() -> None:
    shelf = Shelf(
        *several("core", "1.0.0 2.0.0"),
        release("a@1.0.0", {"core": "1"}),
        release("a@1.1.0", {"core": "2"}),
        release("b@1.0.0", {"core": "1"}),
    )
    assert versions(resolve(asked("a", "b"), shelf, TINY)) == ["a 1.0.0", "b 1.0.0", "core 1.0.0"]


def test_a_conflict_counts_in_both_directions() -> None:
    shelf = Shelf(*several("a", "1.0.0 2.0.0"), *several("b", "1.0.0"), release("c@1.0.0", conflicts={"a": "2"}))
    assert versions(resolve(asked("a", "c"), shelf, TINY)) == ["a 1.0.0", "c 1.0.0"]
    declared_by_the_first = Shelf(release("a@1.0.0"), release("a@2.0.0", conflicts={"z": "*"}), release("z@1.0.0"))
    assert versions(resolve(asked("a", "z"), declared_by_the_first, TINY)) == ["a 1.0.0", "z 1.0.0"]


def test_a_conflict_with_a_patch_that_is_not_there_counts_for_nothing() -> None:
    shelf = Shelf(release("a@1.0.0", conflicts={"b": "*", "ghost": "*"}), release("b@1.0.0"))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 1.0.0"]


def test_a_conflict_covers_the_prereleases_within_its_range() -> None:
    shelf = Shelf(*several("a", "1.0.0 1.6.0-rc.1"), release("b@1.0.0", conflicts={"a": ">=1.5"}))
    with pytest.raises(ResolutionError):
        resolve(asked("a@>=1.6.0-rc.1", "b"), shelf, TINY)


def test_a_prerelease_is_chosen_only_when_it_is_asked_for() -> None:
    shelf = Shelf(*several("a", "1.0.0 1.1.0-rc.1"), release("b@1.0.0", {"a": "^1.0"}))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 1.0.0"]
    assert versions(resolve(asked("a@^1.1.0-rc.0"), shelf, TINY)) == ["a 1.1.0-rc.1"]
    with pytest.raises(ResolutionError):
        resolve(asked("a@^1.1.0-rc.0", "b"), shelf, TINY)


def test_a_yanked_release_is_never_newly_chosen_and_stays_where_it_is_locked() -> None:
    shelf = Shelf(release("a@1.0.0"), release("a@1.1.0", yanked="wrong data"))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 1.0.0"]
    locked = {named("a"): Version.parse("1.1.0")}
    assert versions(resolve(asked("a"), shelf, TINY, locked=locked)) == ["a 1.1.0"]
    other = {named("a"): Version.parse("1.0.0")}
    assert versions(resolve(asked("a"), shelf, TINY, locked=other)) == ["a 1.0.0"]


def test_locked_versions_stay_until_they_are_left_out_of_the_lock() -> None:
    shelf = Shelf(*several("a", "1.0.0 1.1.0"), *several("b", "1.0.0 1.1.0"))
    locked = {named("a"): Version.parse("1.0.0"), named("b"): Version.parse("1.0.0")}
    assert versions(resolve(asked("a", "b"), shelf, TINY, locked=locked)) == ["a 1.0.0", "b 1.0.0"]
    del locked[named("b")]
    assert versions(resolve(asked("a", "b"), shelf, TINY, locked=locked)) == ["a 1.0.0", "b 1.1.0"]


def test_a_new_patch_takes_an_older_version_rather_than_move_a_locked_one() -> None:
    shelf = Shelf(
        *several("core", "1.0.0 2.0.0"), release("a@1.0.0", {"core": "*"}), release("new@1.0.0", {"core": "1"}),
        release("new@2.0.0", {"core": "2"}),
    )  # fmt: skip
    locked = {named("a"): Version.parse("1.0.0"), named("core"): Version.parse("1.0.0")}
    assert versions(resolve(asked("a", "new"), shelf, TINY, locked=locked)) == ["a 1.0.0", "core 1.0.0", "new 1.0.0"]


def test_a_locked_version_moves_where_nothing_else_is_possible() -> None:
    shelf = Shelf(
        *several("core", "1.0.0 2.0.0"),
        *several("a", "1.0.0 1.1.0", {"core": "*"}),
        release("new@2.0.0", {"core": "2"}),
    )
    locked = {named("a"): Version.parse("1.0.0"), named("core"): Version.parse("1.0.0")}
    assert versions(resolve(asked("a", "new"), shelf, TINY, locked=locked)) == ["a 1.0.0", "core 2.0.0", "new 2.0.0"]


def test_a_lock_that_the_project_file_rules_out_does_not_unlock_the_others() -> None:
    shelf = Shelf(*several("a", "1.0.0 2.0.0"), *several("b", "1.0.0 1.1.0"), *several("gone", "2.0.0"))
    locked = {named(name): Version.parse("1.0.0") for name in ("a", "b", "gone", "unknown")}
    assert versions(resolve(asked("a@2", "b"), shelf, TINY, locked=locked)) == ["a 2.0.0", "b 1.0.0"]


def test_a_ruled_out_lock_leaves_the_other_locks_as_strong_as_they_were() -> None:
    shelf = Shelf(
        *several("a", "1.0.0 2.0.0"),
        *several("core", "1.0.0 2.0.0"),
        release("new@1.0.0", {"core": "1"}),
        release("new@2.0.0", {"core": "2"}),
    )
    locked = {named("a"): Version.parse("1.0.0"), named("core"): Version.parse("1.0.0")}
    resolution = resolve(asked("a@2", "new"), shelf, TINY, locked=locked)
    assert versions(resolution) == ["a 2.0.0", "core 1.0.0", "new 1.0.0"]


def test_what_the_policy_does_not_admit_is_not_chosen() -> None:
    def too_young(entry: ReleaseEntry) -> str | None:
        return "published yesterday" if entry.version == Version.parse("1.1.0") else None

    shelf = Shelf(*several("a", "1.0.0 1.1.0"))
    assert versions(resolve(asked("a"), shelf, TINY, admit=too_young)) == ["a 1.0.0"]
    locked = {named("a"): Version.parse("1.1.0")}
    assert versions(resolve(asked("a"), shelf, TINY, admit=too_young, locked=locked)) == ["a 1.0.0"]


def test_only_releases_for_this_base_are_candidates() -> None:
    shelf = Shelf(release("a@1.0.0"), release("a@1.1.0", model="llama"))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 1.0.0"]


def test_every_base_gets_its_own_release_of_one_common_version() -> None:
    shelf = Shelf(*several("a", "1.0.0 1.1.0"), release("a@1.0.0", model="llama", tokens=20))
    resolution = resolve(asked("a"), shelf, [target("tiny"), target("llama")])
    assert versions(resolution) == ["a 1.0.0"]
    assert [(label, each.releases[0].base.name, each.tokens) for label, each in resolution.sets.items()] == [
        ("tiny", "tiny", 8),
        ("llama", "llama", 20),
    ]


def test_what_the_releases_of_a_version_require_is_added_up() -> None:
    shelf = Shelf(
        release("a@1.0.0", {"core": ">=1"}),
        release("a@1.0.0", {"core": "<2"}, {"b": "2"}, model="llama"),
        *(each for model in ("tiny", "llama") for each in several("core", "0.9.0 1.0.0 2.0.0", model=model)),
        *(each for model in ("tiny", "llama") for each in several("b", "1.0.0 2.0.0", model=model)),
    )
    resolution = resolve(asked("a", "b"), shelf, [target("tiny"), target("llama")])
    assert versions(resolution) == ["a 1.0.0", "b 1.0.0", "core 1.0.0"]


def test_the_release_that_matches_the_base_best_is_taken() -> None:
    found = fingerprint("tiny")
    rounded = base("rounded", bf16=found.bf16)
    shelf = Shelf(release("a@1.0.0", base=rounded), release("a@1.0.0"))
    assert resolve(asked("a"), shelf, TINY).sets["tiny"].releases[0].base.name == "tiny"


def test_the_edges_say_who_requires_whom() -> None:
    shelf = Shelf(release("a@1.0.0", {"core": "^1"}), release("core@1.0.0"))
    (root,) = asked("a")
    ((name, wanted),) = release("a@1.0.0", {"core": "^1"}).compose.requires
    expected = (Edge(None, "patchpm.toml:7", named("a"), root.range), Edge(named("a"), "", name, wanted))
    assert resolve([root], shelf, TINY).edges == expected


def test_several_requirements_for_one_patch_must_all_be_met() -> None:
    shelf = Shelf(*several("a", "1.0.0 1.5.0 2.0.0"))
    roots = [*asked("a@^1"), *asked("a@<1.5", origin="the command line")]
    assert versions(resolve(roots, shelf, TINY)) == ["a 1.0.0"]


def test_patches_may_require_each_other() -> None:
    shelf = Shelf(release("a@1.0.0", {"b": "1"}), release("b@1.0.0", {"a": "1"}))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 1.0.0", "b 1.0.0"]


def test_a_patch_that_conflicts_with_its_own_other_versions_can_be_installed() -> None:
    shelf = Shelf(*several("a", "1.0.0 2.0.0", conflicts={"a": "*"}))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 2.0.0"]


def test_a_patch_that_requires_another_version_of_itself_cannot() -> None:
    shelf = Shelf(*several("a", "1.0.0 2.0.0 3.0.0", {"a": "2"}))
    assert versions(resolve(asked("a"), shelf, TINY)) == ["a 2.0.0"]
    with pytest.raises(ResolutionError):
        resolve(asked("a@3"), shelf, TINY)


def test_a_search_that_takes_too_long_is_given_up() -> None:
    pool = Pool(Shelf(*several("a", "1.0.0"), *several("b", "1.0.0")), TINY, {}, lambda _: None)
    with pytest.raises(ResolutionError) as caught:
        solve(pool, asked("a", "b"), max_rounds=1)
    assert caught.value.code == "search-limit"


def test_nothing_is_chosen_where_nothing_is_asked_for() -> None:
    resolution = resolve([], Shelf(release("a@1.0.0")), TINY)
    assert (resolution.sets["tiny"].releases, resolution.sets["tiny"].tokens, resolution.edges) == ((), 0, ())


def test_only_names_that_matter_are_looked_up_and_each_once() -> None:
    shelf = Shelf(*several("a", "1.0.0 2.0.0", {"core": "1"}), release("core@1.0.0"), release("other@1.0.0"))
    resolve(asked("a"), shelf, TINY, locked={named("a"): Version.parse("1.0.0")})
    assert sorted(map(str, shelf.looked_up)) == ["acme/a", "acme/core"]


def test_patches_stand_in_the_order_they_wish() -> None:
    shelf = Shelf(release("a@1.0.0", after=["c"]), release("b@1.0.0"), release("c@1.0.0"))
    resolution = resolve(asked("a", "b", "c"), shelf, TINY)
    assert [each.name.name for each in resolution.sets["tiny"].releases] == ["b", "c", "a"]


def test_a_project_without_a_base_or_with_two_of_one_name_is_a_mistake_of_the_caller() -> None:
    for targets in ([], [target("tiny"), target("tiny")]):
        with pytest.raises(ValueError, match="target"):
            resolve([], Shelf(), targets)


def test_a_failed_resolution_ends_with_its_exit_code() -> None:
    with pytest.raises(ResolutionError) as caught:
        resolve(asked("a"), Shelf(), TINY)
    assert caught.value.exit_code == ExitCode.CANNOT
