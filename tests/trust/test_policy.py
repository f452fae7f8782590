from __future__ import annotations

from datetime import timedelta

import pytest

from patchpm.errors import TrustError, UsageError
from patchpm.patch.fingerprint import Assurance
from patchpm.patch.name import PatchName
from patchpm.trust.policy import (
    Demand,
    Denial,
    EvaluatorTrust,
    KeySet,
    NamePattern,
    Policy,
    RegistryTrust,
    VendorTrust,
)
from patchpm.trust.policy_layers import layered
from patchpm.trust.policy_toml import (
    read_policy,
    with_denial,
    with_evaluator,
    with_registry,
    with_vendor,
    without,
)
from patchpm.trust.private_keys import generate
from tests.builders import digest
from tests.simulator import keys_of, refused

KEY, OTHER = generate(), generate("p256")
CORP = RegistryTrust("corp", "/srv/patches", digest("root"), ("acme", "labx"))
FULL = f"""\
version = 1
max-norm-ratio = 4.5
base-assurance = "verified"
max-tokens = 128

[[registry]]
alias = "corp"
url = "/srv/patches"
root = "{digest("root")}"
namespaces = ["labx", "acme"]

[[vendor]]
name = "acme"
keys = ["{KEY.public}", "{OTHER.public}"]
threshold = 2
domains = ["toxicity", "bias"]

[[evaluator]]
name = "labx"
keys = ["{KEY.public}"]
threshold = 1

[[require]]
match = "acme/*"
evaluators = ["labx"]
min-age = "3d"

[[deny]]
match = "acme/old-*"
reason = "superseded"
"""


def test_every_field_is_read() -> None:
    assert read_policy(FULL) == Policy(
        registries=(CORP,),
        vendors=(VendorTrust("acme", keys_of(KEY, OTHER, threshold=2), ("bias", "toxicity")),),
        evaluators=(EvaluatorTrust("labx", keys_of(KEY)),),
        demands=(Demand(NamePattern("acme/*"), ("labx",), timedelta(days=3)),),
        denials=(Denial(NamePattern("acme/old-*"), "superseded"),),
        max_norm_ratio=4.5,
        base_assurance=Assurance.VERIFIED,
        max_tokens=128,
    )


def test_an_empty_policy_trusts_nobody() -> None:
    assert read_policy("version = 1\n") == Policy()
    assert Policy().registry_for("acme") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = true"),
        ("version = 1", "version = 1\nlevel = 'skip'"),
        ("max-norm-ratio = 4.5", "max-norm-ratio = 0"),
        ("max-norm-ratio = 4.5", "max-norm-ratio = nan"),
        ("max-norm-ratio = 4.5", "max-norm-ratio = 1e9"),
        ('"verified"', '"skip"'),
        ("max-tokens = 128", "max-tokens = 0"),
        ('alias = "corp"', 'alias = "../corp"'),
        ("sha256:", "md5:"),
        ('["labx", "acme"]', "[]"),
        ('["labx", "acme"]', '["ACME"]'),
        ("threshold = 2", "threshold = 0"),
        ("threshold = 2", "threshold = 3"),
        ("threshold = 2", ""),
        (f'"{OTHER.public}"', f'"{KEY.public}"'),
        (f'"{OTHER.public}"', '"p256:AAAA"'),
        ('"toxicity", "bias"', '"everything"'),
        ('"3d"', '"soon"'),
        ('match = "acme/*"', 'match = "*"'),
        ('reason = "superseded"', 'reason = "a\\u001b[31m"'),
        ('reason = "superseded"', ""),
        ("[[deny]]", "[[allow]]"),
        ("[[deny]]", "[deny"),
    ],
    ids=[str(number) for number in range(23)],  # the keys are new in every process, and names of tests must not be
)
def test_a_malformed_policy_is_refused_with_the_file(old: str, new: str) -> None:
    assert old in FULL
    with refused("malformed-policy", "policy.toml"):
        read_policy(FULL.replace(old, new))


def test_a_policy_of_a_newer_version_asks_for_an_update() -> None:
    with refused("unknown-format", "update patchpm"):
        read_policy("version = 2\n")


def test_editing_keeps_comments_and_replaces_entries_of_the_same_name() -> None:
    text = with_registry(None, CORP).replace("version = 1", "version = 1  # mine")
    text = with_vendor(text, VendorTrust("acme", keys_of(KEY, OTHER, threshold=2), ("toxicity",)))
    text = with_vendor(text, VendorTrust("labx", keys_of(OTHER), ()))
    text = with_vendor(text, VendorTrust("acme", keys_of(OTHER), ()))
    text = with_evaluator(text, EvaluatorTrust("labx", keys_of(KEY)))
    text = with_denial(text, Denial(NamePattern("acme/old-*"), "superseded"))
    assert "# mine" in text
    policy = read_policy(text)
    assert policy.registries == (CORP,)
    assert [(vendor.name, vendor.keys) for vendor in policy.vendors] == [
        ("acme", keys_of(OTHER)),
        ("labx", keys_of(OTHER)),
    ]
    for table, name in (("registry", "corp"), ("vendor", "acme"), ("evaluator", "labx"), ("deny", "acme/old-*")):
        text = without(text, table, name)
    assert read_policy(text) == Policy(vendors=(VendorTrust("labx", keys_of(OTHER), ()),))
    assert "# mine" in text
    with refused("not-in-policy"):
        without(text, "vendor", "acme")


def test_a_layer_adds_and_tightens() -> None:
    user = read_policy(FULL)
    project = Policy(
        registries=(RegistryTrust("more", "/srv/more", digest("other"), ("zeta",)),),
        denials=(Denial(NamePattern("labx/*"), "not here"),),
        max_norm_ratio=100.0,
        base_assurance=Assurance.DECLARED,
        max_tokens=64,
    )
    whole = layered([user, project])
    assert [registry.alias for registry in whole.registries] == ["corp", "more"]
    assert len(whole.denials) == 2
    assert (whole.max_norm_ratio, whole.base_assurance, whole.max_tokens) == (4.5, Assurance.VERIFIED, 64)
    assert layered([user, user]).registries == user.registries


@pytest.mark.parametrize(
    "project",
    [
        Policy(vendors=(VendorTrust("acme", keys_of(OTHER), ()),)),
        Policy(vendors=(VendorTrust("acme", keys_of(KEY, OTHER, threshold=1), ("bias", "toxicity")),)),
        Policy(evaluators=(EvaluatorTrust("labx", keys_of(OTHER)),)),
        Policy(registries=(RegistryTrust("corp", "/elsewhere", digest("root"), ("acme", "labx")),)),
        Policy(registries=(RegistryTrust("mine", "/elsewhere", digest("x"), ("acme",)),)),
    ],
)
def test_a_layer_cannot_say_something_else_about_a_party(project: Policy) -> None:
    with refused("policy-conflict"):
        layered([read_policy(FULL), project])


def test_one_layer_cannot_give_a_vendor_to_two_registries() -> None:
    twice = Policy(registries=(CORP, RegistryTrust("mine", "/elsewhere", digest("x"), ("acme",))))
    with refused("policy-conflict", "acme"):
        layered([twice])


def test_an_evaluation_by_nobody_known_is_an_error_of_the_policy() -> None:
    with pytest.raises(UsageError, match="labx"):
        layered([Policy(demands=(Demand(NamePattern("*/*"), ("labx",), timedelta()),))])


def test_a_vendor_belongs_to_the_registry_that_names_it_and_the_rest_to_the_one_for_all() -> None:
    everyone = RegistryTrust("hub", "/srv/hub", digest("hub"), ("*",))
    policy = Policy(registries=(everyone, CORP))
    assert policy.registry_for("acme") == CORP
    assert policy.registry_for("unheard-of") == everyone


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("acme/*", "acme/toxicity", True),
        ("acme/*", "acme2/toxicity", False),
        ("*/*", "acme/toxicity", True),
        ("acme/tox*", "acme/toxicity", True),
        ("acme/tox", "acme/toxicity", False),
        ("*/toxicity", "acme/toxicity", True),
        ("a*e/t*y", "acme/toxicity", True),
        ("a.me/*", "acme/toxicity", False),
    ],
)
def test_patterns_match_within_each_half_of_a_name(pattern: str, name: str, matches: bool) -> None:
    assert NamePattern(pattern).matches(PatchName.parse(name)) is matches


def test_a_threshold_lies_between_one_and_the_number_of_keys() -> None:
    for threshold in (-1, 0, 2):
        with pytest.raises(TrustError):
            KeySet(frozenset([KEY.public]), threshold)
