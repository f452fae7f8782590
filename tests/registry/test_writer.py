from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from patchpm.errors import TrustError
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.private_keys import PrivateKey, generate
from tests.builders import base, manifest, matrix
from tests.simulator import START, MemoryHost, RegistrySimulator, keys_of, refused

TOXICITY = PatchName.parse("acme/toxicity")


def only(registry: RegistrySimulator, *keys: PrivateKey) -> RegistryWriter:
    """A writer who holds nothing but these keys."""
    return RegistryWriter(registry.host, keys, registry.now)


def online(registry: RegistrySimulator) -> list[PrivateKey]:
    return [registry.keys["snapshot"], registry.keys["timestamp"]]


def test_a_published_release_is_listed_with_all_that_resolving_needs(registry: RegistrySimulator) -> None:
    registry.publish("acme/bias", "2.1.0-rc.1", requires={"acme/toxicity": "^1.0.0"}, before=("labx/privacy",))
    (entry,) = registry.client().entries(PatchName.parse("acme/bias"))
    made = manifest("acme/bias", "2.1.0-rc.1", requires={"acme/toxicity": "^1.0.0"}, before=("labx/privacy",))
    assert (entry.name, entry.version, entry.domain, entry.summary) == (
        made.name,
        made.version,
        made.domain,
        made.summary,
    )
    assert entry.base == replace(made.base, files=(), tokenizer=None, template=None)
    assert (entry.tokens, entry.anchors, entry.compose) == (made.prefix.tokens, made.prefix.anchors, made.compose)
    assert (entry.prefix, entry.yanked, entry.registry) == (made.prefix.file, None, "corp")
    assert entry.published == "2026-11-24T12:00:00Z"


def test_the_same_bytes_twice_change_nothing(registry: RegistrySimulator) -> None:
    before = dict(registry.host.files)
    assert registry.writer().publish(registry.release()) is False
    assert registry.host.files == before


def test_other_bytes_under_a_published_version_are_refused(registry: RegistrySimulator) -> None:
    with refused("already-published", "acme/toxicity 1.0.0"):
        registry.writer().publish(registry.release(summary="Answers politely"))


def test_one_version_has_a_release_for_each_base(registry: RegistrySimulator) -> None:
    registry.publish(base=base("other"))
    assert [entry.base.name for entry in registry.client().entries(TOXICITY)] in (["tiny", "other"], ["other", "tiny"])


def test_a_version_that_differs_in_build_metadata_only_is_refused(registry: RegistrySimulator) -> None:
    for made in (registry.release(version="1.0.0+7"), registry.release(version="1.0.0+7", base=base("other"))):
        with refused("same-version", "1.0.0+7"):
            registry.writer().publish(made)


@pytest.mark.parametrize("missing", ["snapshot", "timestamp", "first vendor key", "second vendor key"])
def test_publishing_takes_every_key_that_has_a_say(registry: RegistrySimulator, missing: str) -> None:
    keys = [*online(registry), *registry.vendors["acme"]]
    del keys[["snapshot", "timestamp", "first vendor key", "second vendor key"].index(missing)]
    before = dict(registry.host.files)
    with refused("missing-key"):
        only(registry, *keys).publish(registry.release(version="1.0.1"))
    assert registry.host.files == before
    assert only(registry, *online(registry), *registry.vendors["acme"]).publish(registry.release(version="1.0.1"))


def test_a_release_that_no_installer_would_take_is_not_published(registry: RegistrySimulator) -> None:
    good = registry.release(version="1.0.1")
    unsigned = sign_release(good.manifest, good.prefix, registry.vendors["acme"][:1])
    with refused("too-few-signatures"):
        registry.writer().publish(unsigned)
    with refused("wrong-subject", "prefix.safetensors"):
        registry.writer().publish(replace(good, prefix=good.prefix[:-1] + b"\0"))


def test_a_release_of_an_unknown_vendor_is_refused(registry: RegistrySimulator) -> None:
    registry.vendors["labx"] = [generate()]
    with refused("unknown-vendor", "labx"):
        registry.writer().publish(registry.release("labx/toxicity"))


def test_a_vendor_cannot_publish_under_another_vendors_name(registry: RegistrySimulator) -> None:
    registry.add_vendor("labx")
    files = registry.release(version="1.0.1")
    stolen = sign_release(files.manifest, files.prefix, registry.vendors["labx"])
    with refused("too-few-signatures"):
        only(registry, *online(registry), *registry.vendors["labx"]).publish(stolen)


def test_yanking_keeps_the_release_and_says_why_and_can_be_undone(registry: RegistrySimulator) -> None:
    registry.publish(base=base("other"))
    registry.publish(version="1.0.1")
    writer = registry.writer()
    assert writer.yank(TOXICITY, Version.parse("1.0.0"), "over-refuses")
    assert not writer.yank(TOXICITY, Version.parse("1.0.0"), "over-refuses")
    found = {(str(entry.version), entry.yanked) for entry in registry.client().entries(TOXICITY)}
    assert found == {("1.0.0", "over-refuses"), ("1.0.1", None)}
    assert writer.yank(TOXICITY, Version.parse("1.0.0"), None)
    assert {entry.yanked for entry in registry.client().entries(TOXICITY)} == {None}
    with refused("unknown-release"):
        writer.yank(TOXICITY, Version.parse("1.0.9"), "x")


@pytest.mark.parametrize("reason", ["", "x" * 301, "\x1b[31mred", "line\nfeed", "\u202eevil"])
def test_a_reason_that_no_client_would_show_is_refused(registry: RegistrySimulator, reason: str) -> None:
    with refused("invalid-entry"):
        registry.writer().yank(TOXICITY, Version.parse("1.0.0"), reason)
    assert registry.client().entries(TOXICITY)


def test_yanking_takes_the_vendors_keys(registry: RegistrySimulator) -> None:
    with refused("missing-key"):
        only(registry, *online(registry)).yank(TOXICITY, Version.parse("1.0.0"), "x")


def test_a_registry_is_made_once(registry: RegistrySimulator) -> None:
    with refused("registry-exists"):
        registry.writer().create(registry.roles())


def test_making_a_registry_takes_the_keys_of_every_role(registry: RegistrySimulator) -> None:
    for role in registry.keys:
        held = [key for name, key in registry.keys.items() if name != role]
        with refused("missing-key"):
            RegistryWriter(MemoryHost(), held, START).create(registry.roles())


def test_writing_where_there_is_no_registry_is_refused() -> None:
    with refused("no-registry"):
        RegistryWriter(MemoryHost(), [generate()], START).add_vendor("acme", keys_of(generate()))


def test_adding_a_vendor_again_changes_nothing(registry: RegistrySimulator) -> None:
    before = dict(registry.host.files)
    assert not registry.writer().add_vendor("acme", keys_of(*registry.vendors["acme"], threshold=2))
    assert registry.host.files == before


def test_a_vendor_that_has_not_published_has_no_patches(registry: RegistrySimulator) -> None:
    registry.add_vendor("labx")
    client = registry.client()
    assert client.vendors() == ("acme", "labx")
    assert client.names("labx") == ()
    assert client.entries(PatchName.parse("labx/toxicity")) == ()
    assert client.vendor_keys("labx") == keys_of(*registry.vendors["labx"])


def test_root_can_be_rotated_role_by_role_and_clients_follow(registry: RegistrySimulator) -> None:
    registry.client().vendors()
    for number, role in enumerate(("timestamp", "snapshot", "targets", "root"), start=2):
        old = registry.keys[role]
        registry.keys[role] = generate()
        registry.writer(old).rotate_root(registry.roles())
        assert registry.client().state.root.version == number
        assert [str(name) for name in registry.client().names("acme")] == ["acme/toxicity"]
    registry.publish(version="1.0.1")
    assert len(registry.client("newcomer").entries(TOXICITY)) == 2


def test_rotating_root_takes_the_old_root_keys(registry: RegistrySimulator) -> None:
    old = registry.keys["root"]
    registry.keys["root"] = generate()
    with refused("missing-key", str(old.public)):
        registry.writer().rotate_root(registry.roles())


def test_refreshing_renews_what_is_past_half_of_its_life(registry: RegistrySimulator) -> None:
    registry.later(days=100)
    registry.writer().refresh()
    state = registry.state()
    assert state.root.version == 1
    assert state.targets is not None
    assert state.targets.signed.expires == registry.now + timedelta(days=180)
    assert registry.role().document.signed.expires == registry.now + timedelta(days=180)
    registry.later(days=100)
    registry.writer().refresh()
    assert registry.state().root.version == 2
    registry.later(days=6)
    assert registry.client().names("acme")


def test_the_online_keys_alone_can_refresh_the_timestamp(registry: RegistrySimulator) -> None:
    registry.later(days=20)
    with refused("expired-metadata"):
        registry.client().vendors()
    only(registry, *online(registry)).refresh()
    assert registry.client().vendors() == ("acme",)
    assert registry.state().versions.targets == 2


def test_what_the_keys_at_hand_cannot_renew_stops_a_commit_that_clients_would_refuse(
    registry: RegistrySimulator,
) -> None:
    registry.later(days=181)
    with pytest.raises(TrustError, match="expired"):
        only(registry, *online(registry)).refresh()
    registry.writer().refresh()
    assert registry.client().vendors() == ("acme",)


def test_a_publisher_who_loses_the_race_starts_over(registry: RegistrySimulator) -> None:
    class Rival(MemoryHost):
        beaten = 0

        def head(self) -> str:
            found = super().head()
            if self.beaten < 3:
                self.beaten += 1
                held = [*registry.keys.values(), *registry.vendors["acme"]]
                rival = RegistryWriter(MemoryHost(self.files), held, registry.now)
                rival.publish(registry.release("acme/bias", f"1.0.{self.beaten}"))
            return found

    host = Rival(registry.host.files)
    registry.host = host
    assert registry.writer().publish(registry.release(version="1.0.1"))
    assert len(registry.client().entries(PatchName.parse("acme/bias"))) == 3
    assert len(registry.client().entries(TOXICITY)) == 2


def test_the_same_change_at_the_same_time_gives_the_same_bytes(registry: RegistrySimulator) -> None:
    start = dict(registry.host.files)
    registry.publish(version="1.0.1", prefix=matrix(seed=4))
    first = dict(registry.host.files)
    registry.host.files = start
    registry.publish(version="1.0.1", prefix=matrix(seed=4))
    assert registry.host.files == first
