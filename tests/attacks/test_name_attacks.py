"""Attacks on names: a public registry that serves a private name, names that look alike, paths that lead elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from patchpm.errors import PatchpmError
from patchpm.patch.name import PatchName
from patchpm.registry.catalogue import Catalogue
from patchpm.registry.folder import FolderHost
from patchpm.registry.lookalike import lookalike
from patchpm.registry.writer import RegistryWriter
from patchpm.trust.attestations import sign_release
from patchpm.trust.policy import Policy, RegistryTrust
from patchpm.trust.policy_layers import layered
from patchpm.trust.private_keys import PrivateKey, generate
from tests.builders import manifest, matrix
from tests.simulator import RegistrySimulator, keys_of, refused
from tests.world import roles

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECRET = PatchName.parse("acme/secret")


@dataclass
class Site:
    """A registry in a folder, with its own operator."""

    root: Path
    key: PrivateKey = field(default_factory=generate)

    def __post_init__(self) -> None:
        self.pin = self.writer().create(roles(self.key))

    def writer(self) -> RegistryWriter:
        return RegistryWriter(FolderHost(self.root), [self.key], NOW)

    def publish(self, name: str, version: str) -> None:
        from patchpm.patch.manifest_json import write_manifest
        from patchpm.patch.prefix import write_prefix

        self.writer().add_vendor(name.partition("/")[0], keys_of(self.key), allow_lookalike=True)
        release = sign_release(write_manifest(manifest(name, version)), write_prefix(matrix()), [self.key])
        assert self.writer().publish(release)

    def trusted(self, alias: str, *namespaces: str) -> RegistryTrust:
        return RegistryTrust(alias, str(self.root), self.pin, namespaces)


@pytest.fixture
def inside(tmp_path: Path) -> Site:
    site = Site(tmp_path / "inside")
    site.publish("acme/secret", "1.0.0")
    return site


@pytest.fixture
def outside(tmp_path: Path) -> Site:
    site = Site(tmp_path / "outside")
    site.publish("acme/secret", "99.0.0")
    site.publish("labx/open", "1.0.0")
    return site


def test_dependency_confusion_a_higher_version_elsewhere_is_never_seen(
    inside: Site, outside: Site, tmp_path: Path
) -> None:
    policy = layered([Policy(registries=(inside.trusted("corp", "acme"), outside.trusted("hub", "*")))])
    catalogue = Catalogue(policy, tmp_path / "state", NOW)
    assert [str(entry.version) for entry in catalogue.entries(SECRET)] == ["1.0.0"]
    assert [str(name) for name in catalogue.names()] == ["acme/secret", "labx/open"]


def test_dependency_confusion_a_name_that_its_registry_lacks_is_not_looked_for_elsewhere(
    inside: Site, outside: Site, tmp_path: Path
) -> None:
    outside.publish("acme/other", "1.0.0")
    policy = layered([Policy(registries=(inside.trusted("corp", "acme"), outside.trusted("hub", "*")))])
    assert not Catalogue(policy, tmp_path / "state", NOW).entries(PatchName.parse("acme/other"))


def test_dependency_confusion_a_vendor_of_no_registry_is_found_nowhere(inside: Site, tmp_path: Path) -> None:
    catalogue = Catalogue(Policy(registries=(inside.trusted("corp", "labx"),)), tmp_path / "state", NOW)
    assert not catalogue.entries(SECRET)
    assert not catalogue.names()
    with refused("unknown-registry"):
        catalogue.vendor_keys("acme")


@pytest.mark.parametrize(("user", "project"), [(("acme",), ("acme",)), (("*",), ("acme",)), (("*",), ("*",))])
def test_dependency_confusion_a_checkout_cannot_send_a_vendor_to_its_own_registry(
    inside: Site, outside: Site, user: tuple[str, ...], project: tuple[str, ...]
) -> None:
    layers = [
        Policy(registries=(inside.trusted("corp", *user),)),
        Policy(registries=(outside.trusted("evil", *project),)),
    ]
    with refused("policy-conflict", "corp"):
        layered(layers)


def test_dependency_confusion_a_checkout_cannot_repoint_an_alias(inside: Site, outside: Site) -> None:
    layers = [
        Policy(registries=(inside.trusted("corp", "acme"),)),
        Policy(registries=(outside.trusted("corp", "acme"),)),
    ]
    with refused("policy-conflict", "corp"):
        layered(layers)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("acrne", "acme"),
        ("acm3", "acme"),
        ("amce", "acme"),
        ("acmee", "acme"),
        ("ac-me", "acme"),
        ("hacker-bank", "hackerbank"),
        ("hackerbnk", "hackerbank"),
        ("g00gle", "google"),
        ("pathcpm", "patchpm"),
        ("vvidget", "widget"),
    ],
)
def test_typosquat_names_that_look_alike_are_not_registered(tmp_path: Path, name: str, taken: str) -> None:
    site = Site(tmp_path / "registry")
    site.writer().add_vendor(taken, keys_of(site.key), allow_lookalike=True)
    with refused("lookalike-name", taken):
        site.writer().add_vendor(name, keys_of(generate()))
    assert site.writer().add_vendor(name, keys_of(generate()), allow_lookalike=True)


@pytest.mark.parametrize("name", ["patchpm", "official", "security"])
def test_typosquat_the_products_own_words_are_reserved(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path / "registry")
    with refused("lookalike-name", name):
        site.writer().add_vendor(name, keys_of(generate()))


@pytest.mark.parametrize("name", ["rott", "labx", "mozilla", "bank-of-testing", "ibm", "acm"])
def test_typosquat_honest_names_are_free(name: str) -> None:
    assert lookalike(name, ["acme", "hackerbank", "google", "ibn"]) is None


@pytest.mark.parametrize("name", ["root", "targets", "snapshot", "timestamp"])
def test_a_vendor_cannot_take_the_file_of_a_role(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path / "registry")
    with refused("invalid-name", name):
        site.writer().add_vendor(name, keys_of(generate()))


@pytest.mark.parametrize("name", ["\u0430cme", "acme\u200b", "ACME", "ac/me", "..", "a" * 40, "acme-"])
def test_typosquat_letters_of_other_scripts_are_no_name_at_all(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path / "registry")
    with refused("invalid-name"):
        site.writer().add_vendor(name, keys_of(generate()))


def test_a_vendor_cannot_be_taken_over_by_adding_it_again(registry: RegistrySimulator) -> None:
    with refused("vendor-exists", "acme"):
        registry.writer().add_vendor("acme", keys_of(generate()))


@pytest.mark.parametrize(
    "path",
    ["../secret", "/etc/passwd", "metadata/../../secret", "metadata//x", ".lock", "metadata/.x", "a/b\0c", "x/."],
)
def test_path_traversal_no_path_leads_out_of_a_folder_registry(inside: Site, path: str) -> None:
    (inside.root.parent / "secret").write_bytes(b"secret")
    with pytest.raises(PatchpmError) as caught:
        FolderHost(inside.root).read(path, 100)
    assert caught.value.code == "unsafe-path"


def test_path_traversal_no_symbolic_link_is_followed(inside: Site) -> None:
    secret = inside.root.parent / "elsewhere"
    secret.mkdir()
    (secret / "file").write_bytes(b"secret")
    (inside.root / "metadata" / "link").symlink_to(secret / "file")
    (inside.root / "linked").symlink_to(secret)
    for path in ("metadata/link", "linked/file"):
        with refused("unreachable", path):
            FolderHost(inside.root).read(path, 100)


def test_path_traversal_a_writer_follows_no_symbolic_link(inside: Site) -> None:
    elsewhere = inside.root.parent / "elsewhere"
    elsewhere.mkdir()
    (inside.root / "patches" / "acme" / "other").symlink_to(elsewhere)
    with pytest.raises(PatchpmError):
        inside.publish("acme/other", "1.0.0")
    assert not list(elsewhere.iterdir())
    inside.publish("acme/third", "1.0.0")
