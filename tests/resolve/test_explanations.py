"""What a user reads when there is no answer, word for word."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest

from patchpm.errors import ResolutionError
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.problem import RootRequirement, Target
from patchpm.resolve.resolver import resolve
from tests.resolve.shelf import TINY, Shelf, asked, named, release, several, target

_CORE = several("core", "1.0.0 1.1.0 2.0.0 3.0.0")


def _explained(
    roots: list[RootRequirement],
    *entries: ReleaseEntry,
    targets: tuple[Target, ...] = TINY,
    max_tokens: int = 256,
    admit: Callable[[ReleaseEntry], str | None] = lambda _: None,
) -> str:
    with pytest.raises(ResolutionError) as caught:
        resolve(roots, Shelf(*entries), targets, max_tokens=max_tokens, admit=admit)
    return str(caught.value) + "\n"


def _text(text: str) -> str:
    return dedent(text).lstrip("\n")


def test_two_requirements_whose_patches_conflict() -> None:
    told = _explained(
        asked("toxicity@^2.2", "self-harm"),
        *several("toxicity", "1.0.0 1.4.0 1.5.0 2.2.0 2.3.0"),
        *several("self-harm", "1.0.0 1.1.0", conflicts={"toxicity": ">=1.5"}),
    )
    assert told == _text("""
        acme/self-harm and acme/toxicity@^2.2 cannot be installed together [unsatisfiable]
        patchpm.toml:8 asks for acme/self-harm
          every version of acme/self-harm conflicts with acme/toxicity@>=1.5
        patchpm.toml:7 asks for acme/toxicity@^2.2
        hint: ask for acme/toxicity@1.4 instead of ^2.2 (patchpm.toml:7), which gives 1.4.0; or leave out acme/self-harm (patchpm.toml:8); or leave out acme/toxicity (patchpm.toml:7)
    """)  # noqa: E501


def test_versions_that_require_different_things_are_told_apart() -> None:
    told = _explained(
        [*asked("core@^3"), *asked("a@^1", origin="the command line")],
        *_CORE,
        *several("a", "1.0.0 1.1.0 1.2.0", {"core": "^1"}),
        *several("a", "1.3.0 1.4.0", {"core": "^2"}),
    )
    assert told == _text("""
        acme/a@^1 and acme/core@^3 cannot be installed together [unsatisfiable]
        the command line asks for acme/a@^1
          acme/a (1.2.0 and earlier) requires acme/core@^1
          acme/a (1.3.0 and later) requires acme/core@^2
        patchpm.toml:7 asks for acme/core@^3
        so every version of acme/a needs acme/core (2.0.0 and earlier)
        hint: ask for acme/core@2.0 instead of ^3 (patchpm.toml:7), which gives 2.0.0; or leave out acme/a (the command line); or leave out acme/core (patchpm.toml:7)
    """)  # noqa: E501


def test_a_clash_deep_below_both_requirements() -> None:
    told = _explained(
        asked("a", "d", "unrelated"),
        release("a@1.0.0", {"b": "1"}),
        release("b@1.0.0", {"c": "1"}),
        *several("c", "1.0.0 2.0.0"),
        release("c@1.1.0", conflicts={"d": "*"}),
        release("d@1.0.0", {"c": "^1.1"}),
        release("d@2.0.0", {"c": "2"}),
        *several("unrelated", "1.0.0 2.0.0"),
    )
    assert told == _text("""
        acme/a and acme/d cannot be installed together [unsatisfiable]
        patchpm.toml:7 asks for acme/a
          acme/a 1.0.0 requires acme/b@1
            acme/b 1.0.0 requires acme/c@1
              acme/c 1.1.0 conflicts with acme/d
        patchpm.toml:8 asks for acme/d
          acme/d 1.0.0 requires acme/c@^1.1
          acme/d 2.0.0 requires acme/c@2
        so no version of acme/d can be installed together with acme/a 1.0.0
        hint: leave out acme/a (patchpm.toml:7); or leave out acme/d (patchpm.toml:8)
    """)


def test_a_yanked_version_that_would_have_fitted_is_named() -> None:
    told = _explained(
        asked("a", "core@1"), *_CORE, release("core@1.5.0", yanked="wrong data"), release("a@1.0.0", {"core": ">=1.2"})
    )
    assert told == _text("""
        acme/a and acme/core@1 cannot be installed together [unsatisfiable]
        patchpm.toml:7 asks for acme/a
          acme/a 1.0.0 requires acme/core@>=1.2
        patchpm.toml:8 asks for acme/core@1
        acme/core@1 and @>=1.2 are not met by any one version: acme/core 1.5.0 is yanked: wrong data
        hint: ask for acme/core@3.0 instead of 1 (patchpm.toml:8), which gives 3.0.0; or acme/core 1.5.0 would fit, but it is yanked: wrong data; or leave out acme/a (patchpm.toml:7); or leave out acme/core (patchpm.toml:8)
    """)  # noqa: E501


def test_a_version_that_the_policy_does_not_admit_is_named() -> None:
    told = _explained(
        asked("a@^1.1"),
        *several("a", "1.0.0 1.1.0"),
        admit=lambda entry: "published 3 hours ago, 24 are asked for" if str(entry.version) == "1.1.0" else None,
    )
    assert told == _text("""
        no usable version meets acme/a@^1.1 [unsatisfiable]
        patchpm.toml:7 asks for acme/a@^1.1; acme/a 1.1.0 is not admitted: published 3 hours ago, 24 are asked for
        hint: ask for acme/a@1.0, which gives 1.0.0
    """)


def test_a_required_patch_that_does_not_exist() -> None:
    assert _explained(asked("a"), release("a@1.0.0", {"ghost": "^1"})) == _text("""
        acme/a cannot be installed [unsatisfiable]
        patchpm.toml:7 asks for acme/a
          acme/a 1.0.0 requires acme/ghost@^1, but no registry in use lists it
    """)


def test_a_required_patch_that_is_not_made_for_this_base() -> None:
    told = _explained(asked("a"), release("a@1.0.0", {"core": "^1"}), release("core@1.0.0", model="Llama-3.2-1B"))
    assert told == _text("""
        acme/a cannot be installed [unsatisfiable]
        patchpm.toml:7 asks for acme/a
          acme/a 1.0.0 requires acme/core@^1, but acme/core 1.0.0 is not made for tiny, only for Llama-3.2-1B
    """)


def test_a_misspelt_name() -> None:
    assert _explained(asked("toxicty"), release("toxicity@1.0.0")) == _text("""
        there is no patch named acme/toxicty [unknown-patch]
        patchpm.toml:7 asks for acme/toxicty, and no registry in use lists it
        hint: did you mean acme/toxicity?
    """)


def test_the_right_name_under_the_wrong_vendor() -> None:
    told = _explained(asked("toxicity"), release("other/toxicity@1.0.0"), release("acme/toxicities@1.0.0"))
    assert told == _text("""
        there is no patch named acme/toxicity [unknown-patch]
        patchpm.toml:7 asks for acme/toxicity, and no registry in use lists it
        hint: did you mean other/toxicity?
    """)


def test_a_name_like_no_other() -> None:
    assert _explained(asked("toxicity"), release("other/bias@1.0.0")) == _text("""
        there is no patch named acme/toxicity [unknown-patch]
        patchpm.toml:7 asks for acme/toxicity, and no registry in use lists it
        hint: `patchpm search` finds patches by name and domain
    """)


def test_no_release_for_this_base_but_for_others() -> None:
    told = _explained(
        asked("toxicity@^1"),
        *several("toxicity", "1.0.0 1.1.0", model="Llama-3.2-1B"),
        release("toxicity@1.2.0", model="Qwen3-0.6B"),
    )
    assert told == _text("""
        there is no release of acme/toxicity@^1 for tiny, but there is one for Llama-3.2-1B or Qwen3-0.6B [no-release-for-base]
        patchpm.toml:7 asks for acme/toxicity@^1; acme/toxicity 1.0.0 and 1.1.0 are not made for tiny, only for Llama-3.2-1B; acme/toxicity 1.2.0 is not made for tiny, only for Qwen3-0.6B
        hint: use Llama-3.2-1B or Qwen3-0.6B as the base, or ask acme for a release
    """)  # noqa: E501


def test_no_release_for_one_of_two_bases_in_the_wanted_range_but_outside_it() -> None:
    told = _explained(
        asked("toxicity@2"),
        release("toxicity@2.0.0"),
        *(release("toxicity@1.3.0", model=model) for model in ("tiny", "llama")),
        targets=(target("tiny"), target("llama")),
    )
    assert told == _text("""
        there is no release of acme/toxicity@2 for llama, but there is one for tiny [no-release-for-base]
        patchpm.toml:7 asks for acme/toxicity@2; acme/toxicity 2.0.0 is not made for llama, only for tiny
        hint: ask for acme/toxicity@1.3, which gives 1.3.0
    """)


def test_a_version_that_does_not_exist() -> None:
    many = " ".join(f"1.{minor}.0" for minor in range(20))
    assert _explained(asked("a@^2"), *several("a", many)) == _text("""
        no usable version meets acme/a@^2 [unsatisfiable]
        patchpm.toml:7 asks for acme/a@^2; there are only 20 versions from 1.0.0 to 1.19.0
        hint: ask for acme/a@1.19, which gives 1.19.0
    """)


def test_a_prerelease_that_must_be_asked_for() -> None:
    assert _explained(asked("a@^1.1"), *several("a", "1.0.0 1.1.0-rc.1")) == _text("""
        no usable version meets acme/a@^1.1 [unsatisfiable]
        patchpm.toml:7 asks for acme/a@^1.1; only a pre-release would do, 1.1.0-rc.1, and must be asked for by number
        hint: ask for acme/a@1.1.0-rc.1
    """)


def test_two_requirements_for_one_patch() -> None:
    roots = [*asked("a@^1"), *asked("a@2", origin="the command line")]
    assert _explained(roots, *several("a", "1.0.0 2.0.0")) == _text("""
        acme/a@^1 and acme/a@2 cannot be installed together [unsatisfiable]
        patchpm.toml:7 asks for acme/a@^1
        the command line asks for acme/a@2
        hint: ask for acme/a@2.0 instead of ^1 (patchpm.toml:7), which gives 2.0.0; or ask for acme/a@1.0 instead of 2 (the command line), which gives 1.0.0; or leave out acme/a (patchpm.toml:7); or leave out acme/a (the command line)
    """)  # noqa: E501


def test_two_separate_clashes_have_no_single_way_out() -> None:
    told = _explained(
        asked("a", "b", "c", "d"),
        release("a@1.0.0", conflicts={"b": "*"}),
        release("b@1.0.0"),
        release("c@1.0.0", conflicts={"d": "*"}),
        release("d@1.0.0"),
    )
    assert told == _text("""
        acme/a and acme/b cannot be installed together [unsatisfiable]
        patchpm.toml:7 asks for acme/a
          acme/a 1.0.0 conflicts with acme/b
        patchpm.toml:8 asks for acme/b
        hint: no single change is enough: relax or leave out more than one of the requirements
    """)


def test_a_proof_of_many_facts_is_cut_short() -> None:
    parts = [release(f"part-{number:02}@1.0.0", {"core": "1"}) for number in range(40)]
    versions = [release(f"a@1.{number}.0", {f"part-{number:02}": "1"}) for number in range(40)]
    lines = _explained(asked("a", "core@2"), *parts, *versions, *_CORE).splitlines()
    assert len(lines) < 40
    assert any(line.endswith("more facts like these") for line in lines)


def test_a_set_that_costs_too_many_tokens() -> None:
    told = _explained(
        asked("a", "b", "c"),
        release("a@1.0.0", {"core": "*"}, tokens=60),
        release("b@1.0.0", tokens=100),
        release("c@1.0.0", {"core": "*"}, tokens=70),
        release("core@1.0.0", tokens=90),
        max_tokens=240,
    )
    assert told == _text("""
        the patches for tiny cost 320 prefix tokens, and 240 are allowed [token-budget]
        acme/b 1.0.0 costs 100
        acme/core 1.0.0 costs 90, required by acme/a and acme/c
        acme/c 1.0.0 costs 70
        acme/a 1.0.0 costs 60
        hint: leave out acme/b, which leaves 220; or raise max-tokens to 320 under [compose] in patchpm.toml
    """)


def test_a_set_that_is_too_dear_for_leaving_out_a_single_patch() -> None:
    entries = [
        release(f"{name}@1.0.0", tokens=tokens) for name, tokens in (("a", 100), ("b", 50), ("c", 200), ("d", 90))
    ]
    assert _explained(asked("a", "b", "c", "d"), *entries, max_tokens=150) == _text("""
        the patches for tiny cost 440 prefix tokens, and 150 are allowed [token-budget]
        acme/c 1.0.0 costs 200
        acme/a 1.0.0 costs 100
        acme/d 1.0.0 costs 90
        acme/b 1.0.0 costs 50
        hint: leave out acme/c and acme/a, which leaves 140; or raise max-tokens to 440 under [compose] in patchpm.toml
    """)


def test_a_single_patch_over_the_budget_can_only_be_paid_for() -> None:
    assert _explained(asked("a"), release("a@1.0.0", tokens=200), max_tokens=100) == _text("""
        the patches for tiny cost 200 prefix tokens, and 100 are allowed [token-budget]
        acme/a 1.0.0 costs 200
        hint: raise max-tokens to 200 under [compose] in patchpm.toml
    """)


def test_a_circle_of_wishes_about_the_order() -> None:
    told = _explained(asked("a", "b"), release("a@1.0.0", before=["b"]), release("b@1.0.0", before=["a"]))
    assert told == _text("""
        acme/a and acme/b cannot be put in an order [order-cycle]
        acme/a 1.0.0 must stand before acme/b
        acme/b 1.0.0 must stand before acme/a
        hint: leave out one of them, or ask for versions of them that do not contradict each other
    """)


def test_the_vendor_is_named_where_it_is_not_the_usual_one() -> None:
    told = _explained(asked("other/a"), release("other/a@1.0.0", {"other/core": "1"}))
    assert str(named("other/a")) in told
    assert "acme" not in told
