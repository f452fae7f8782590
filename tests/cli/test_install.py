from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from patchpm.patch.release import ReleaseFiles
from patchpm.project.installing import Installer
from patchpm.project.lock import LockedRelease
from patchpm.project.lock_toml import write_lock
from patchpm.project.policy_file import load_policy
from patchpm.registry.fetching import fetch_release
from patchpm.settings import Folders
from patchpm.store.store import Store
from tests.builders import base
from tests.world import World


def test_a_new_user_installs_a_patch_by_its_bare_name(world: World) -> None:
    world.publish(version="1.0.0")
    world.publish(version="1.2.0")
    world.started()
    done = world.ok("install", "toxicity")
    assert "+ acme/toxicity 1.2.0" in done.out
    assert '"acme/toxicity" = "^1.2.0"' in (world.project / "patchpm.toml").read_text()
    assert world.locked == {"acme/toxicity": "1.2.0"}
    assert len(world.stored()) == 3


def test_a_range_chooses_the_highest_version_within_it(world: World) -> None:
    for version in ("1.1.0", "1.2.0", "1.2.9", "1.3.0", "2.0.0-rc.1"):
        world.publish(version=version)
    world.started("toxicity@1.2")
    assert world.locked == {"acme/toxicity": "1.2.9"}


def test_what_a_patch_requires_comes_with_it_and_in_the_order_it_asks_for(world: World) -> None:
    world.publish("acme/core", "1.0.0")
    world.publish("acme/bias", "1.0.0", requires={"acme/core": "^1"}, before=("acme/core",))
    world.started("acme/bias")
    assert [str(name) for name in world.lock.compositions[0].order] == ["acme/bias", "acme/core"]
    tree = world.ok("tree").out
    assert "└── acme/core 1.0.0" in tree
    assert "acme/bias 1.0.0 requires acme/core ^1" in world.ok("why", "core").out


def test_a_bare_install_follows_the_lock_and_not_what_is_newer(world: World) -> None:
    world.publish(version="1.0.0")
    world.started("toxicity@1")
    world.publish(version="1.1.0")
    world.ok("cache", "clean")
    assert world.ok("install", "--json").json["fetched"] == 1
    assert world.locked == {"acme/toxicity": "1.0.0"}


def test_adding_a_patch_leaves_the_locked_ones_where_they_are(world: World) -> None:
    world.publish(version="1.0.0")
    world.publish("acme/bias", "1.0.0")
    world.started("toxicity@1")
    world.publish(version="1.1.0")
    world.ok("install", "bias")
    assert world.locked == {"acme/bias": "1.0.0", "acme/toxicity": "1.0.0"}
    world.ok("update")
    assert world.locked == {"acme/bias": "1.0.0", "acme/toxicity": "1.1.0"}


def test_a_dry_run_writes_nothing(world: World) -> None:
    world.publish()
    world.started()
    before = (world.project / "patchpm.toml").read_bytes()
    found = world.ok("install", "toxicity", "--dry-run", "--json").json
    assert found["changes"] == [{"name": "acme/toxicity", "before": None, "after": "1.0.0"}]
    assert (world.project / "patchpm.toml").read_bytes() == before
    assert not (world.project / "patchpm.lock").exists()
    assert world.stored() == []


def test_the_same_install_twice_gives_the_same_lock_and_fetches_once(world: World) -> None:
    world.publish()
    world.started("toxicity")
    before = (world.project / "patchpm.lock").read_bytes()
    assert world.ok("install", "toxicity", "--json").json["fetched"] == 0
    assert (world.project / "patchpm.lock").read_bytes() == before


def test_removing_a_patch_takes_out_what_only_it_required(world: World) -> None:
    world.publish("acme/core", "1.0.0")
    world.publish("acme/bias", "1.0.0", requires={"acme/core": "^1"})
    world.publish("acme/toxicity", "1.0.0")
    world.started("bias", "toxicity")
    world.ok("remove", "bias")
    assert world.locked == {"acme/toxicity": "1.0.0"}
    assert "acme/bias" not in (world.project / "patchpm.toml").read_text()


def test_a_yanked_release_is_not_chosen_and_still_installs_from_a_lock(world: World) -> None:
    world.publish(version="1.0.0")
    world.publish(version="1.1.0")
    world.started("toxicity@1")
    world.yank("acme/toxicity", "1.1.0")
    world.ok("cache", "clean")
    again = world.ok("install")
    assert world.locked == {"acme/toxicity": "1.1.0"}
    assert len(world.stored()) == 3
    assert world.run("outdated", "--check").code == 6
    world.ok("update")
    assert world.locked == {"acme/toxicity": "1.0.0"}
    assert "acme/toxicity 1.1.0 is yanked: over-refuses" in again.err


def test_two_vendors_with_one_bare_name_are_listed_and_none_is_guessed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path_factory.mktemp("two"), monkeypatch, vendors=("acme", "labx"))
    world.publish("acme/toxicity")
    world.publish("labx/toxicity")
    world.started()
    refused = world.run("install", "toxicity", "--json")
    assert refused.code == 2
    assert refused.error["code"] == "ambiguous-name"
    assert "acme/toxicity, labx/toxicity" in refused.error["why"]


def test_a_release_for_another_base_only_says_which_bases_there_are(world: World) -> None:
    world.publish(for_base=base("Llama-3-8B", hidden_size=8))
    world.started()
    refused = world.run("install", "toxicity", "--json")
    assert refused.code == 1
    assert refused.error["code"] == "no-release-for-base"
    assert "Llama-3-8B" in refused.error["what"] + refused.error["why"]
    assert not (world.project / "patchpm.lock").exists()


def test_an_unknown_patch_suggests_the_one_that_was_meant(world: World) -> None:
    world.publish()
    world.started()
    refused = world.run("install", "toxicty", "--json")
    assert (refused.code, refused.error["code"]) == (1, "unknown-patch")
    assert "acme/toxicity" in refused.error["next"]


def test_conflicting_requirements_are_explained(world: World) -> None:
    world.publish("acme/toxicity", "1.0.0", conflicts={"acme/bias": "*"})
    world.publish("acme/bias", "1.0.0")
    world.started("bias")
    before = (world.project / "patchpm.toml").read_bytes()
    refused = world.run("install", "toxicity", "--json")
    assert (refused.code, refused.error["code"]) == (1, "unsatisfiable")
    assert "patchpm.toml:" in refused.error["why"]
    assert (world.project / "patchpm.toml").read_bytes() == before


def test_a_set_over_the_budget_of_the_policy_says_so(world: World) -> None:
    world.publish("acme/bias")
    world.publish("acme/toxicity")
    world.started("bias")
    (world.project / "patchpm-policy.toml").write_text("version = 1\nmax-tokens = 5\n")
    refused = world.run("install", "toxicity", "--json")
    assert (refused.code, refused.error["code"]) == (1, "token-budget")
    assert "policy allows at most 5" in refused.error["next"]


@pytest.mark.parametrize("in_ci", ["", "true"])
def test_a_dry_run_from_the_lock_fetches_nothing(world: World, monkeypatch: pytest.MonkeyPatch, in_ci: str) -> None:
    world.publish()
    world.started("toxicity")
    world.ok("cache", "clean")
    monkeypatch.setenv("CI", in_ci)
    assert world.ok("install", "--dry-run", "--json").json["dry_run"] is True
    assert world.stored() == []


def test_patches_that_require_each_other_are_drawn_once(world: World) -> None:
    world.publish("acme/core", requires={"acme/bias": "*"})
    world.publish("acme/bias", requires={"acme/core": "*"})
    world.started("acme/core")
    assert world.ok("tree").out.count("acme/bias") == 1
    (tree,) = world.ok("tree", "--json").json
    assert tree["patches"][0]["requires"][0]["requires"] == [
        {"name": "acme/core", "version": "1.0.0", "tokens": 3, "requires": []}
    ]


@pytest.mark.parametrize("command", [("install", "--frozen"), ("lock", "--check"), ("verify",)])
def test_a_lock_made_to_pin_less_than_the_project_asks_for_is_stale(world: World, command: tuple[str, ...]) -> None:
    for version in ("1.0.0", "1.1.0"):
        world.publish(version=version)
    world.started("toxicity@=1.0.0")
    older = world.lock
    world.ok("install", "toxicity@^1.1")
    forged = replace(older, requirements=world.lock.requirements)
    (world.project / "patchpm.lock").write_text(write_lock(forged))
    refused = world.run(*command, "--json")
    assert (refused.code, refused.error["code"]) == (3, "stale-lock")
    assert refused.error["why"] == "patchpm.toml:7 asks for acme/toxicity ^1.1, and it pins 1.0.0 for tiny"
    world.ok("install")
    assert world.locked == {"acme/toxicity": "1.1.0"}


def test_a_budget_that_the_policy_lowers_later_holds_for_a_lock_too(world: World) -> None:
    world.publish()
    world.started("toxicity")
    (world.project / "patchpm-policy.toml").write_text("version = 1\nmax-tokens = 1\n")
    for command in (("install", "--frozen"), ("install",), ("verify",)):
        refused = world.run(*command, "--json")
        assert (refused.code, refused.error["code"]) == (4, "token-budget")


def test_releases_that_the_store_lacks_are_fetched_at_the_same_time(world: World) -> None:
    names = ("acme/toxicity", "acme/bias", "acme/privacy")
    for name in names:
        world.publish(name)
    world.started(*names)
    folders = Folders.of_user()
    shutil.rmtree(folders.store)
    policy = load_policy(folders, world.project)
    together = threading.Barrier(len(names), timeout=30)

    def fetch(release: LockedRelease) -> ReleaseFiles:
        together.wait()
        return fetch_release(policy, release)

    installer = Installer(Store(folders.store), policy, datetime.now(UTC))
    assert [fetched for _, fetched in installer.install(world.lock, fetch)] == [True] * 3
    assert len(world.stored()) == 9
