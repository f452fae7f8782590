"""Putting policies on top of each other: what comes with patchpm, then the user's, then the project's.

A layer may add and tighten. It may not say something else about a party that a lower layer knows, and it may not take
a vendor away from the registry that a lower layer gives it to: that is how a checkout could redirect a private name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from patchpm.errors import TrustError, UsageError
from patchpm.trust.policy import ANY_VENDOR, Policy, RegistryTrust

_Party = TypeVar("_Party")


def layered(layers: Sequence[Policy]) -> Policy:
    """The policy that holds when every layer does, lowest first.

    Raises:
        TrustError: `policy-conflict`, naming what two layers disagree about.
        UsageError: `unknown-evaluator` where an evaluation is required from someone of whom no layer knows a key.
    """
    whole = Policy()
    for layer in layers:
        whole = _upon(whole, layer)
    wanted = {name for demand in whole.demands for name in demand.evaluators}
    unknown = sorted(wanted - {evaluator.name for evaluator in whole.evaluators})
    if unknown:
        raise UsageError(
            "unknown-evaluator",
            f"the policy requires evaluations by {', '.join(unknown)} and has no key of theirs",
            next="add an [[evaluator]] with their keys",
        )
    return whole


def _upon(lower: Policy, upper: Policy) -> Policy:
    for registry in upper.registries:
        _check_namespaces(lower, upper, registry)
    limits = [limit for limit in (lower.max_tokens, upper.max_tokens) if limit is not None]
    return Policy(
        registries=_joined(lower.registries, upper.registries, "registry", lambda item: item.alias),
        vendors=_joined(lower.vendors, upper.vendors, "vendor", lambda item: item.name),
        evaluators=_joined(lower.evaluators, upper.evaluators, "evaluator", lambda item: item.name),
        demands=(*lower.demands, *upper.demands),
        denials=(*lower.denials, *upper.denials),
        max_norm_ratio=min(lower.max_norm_ratio, upper.max_norm_ratio),
        base_assurance=max(lower.base_assurance, upper.base_assurance),
        max_tokens=min(limits, default=None),
    )


def _joined(
    lower: tuple[_Party, ...], upper: tuple[_Party, ...], kind: str, name: Callable[[_Party], str]
) -> tuple[_Party, ...]:
    found = {name(party): party for party in lower}
    for party in upper:
        if found.setdefault(name(party), party) != party:
            raise _conflict(f"the {kind} {name(party)} is described twice, in two ways")
    return tuple(found.values())


def _check_namespaces(lower: Policy, upper: Policy, registry: RegistryTrust) -> None:
    for vendor in registry.namespaces:
        owners = {item.alias for item in upper.registries if vendor in item.namespaces}
        if vendor == ANY_VENDOR:
            owners |= {item.alias for item in lower.registries if vendor in item.namespaces}
        elif (below := lower.registry_for(vendor)) is not None:
            owners.add(below.alias)
        if len(owners) > 1:
            raise _conflict(f"{vendor} would be served by {' and by '.join(sorted(owners))}")


def _conflict(why: str) -> TrustError:
    return TrustError(
        "policy-conflict",
        "the trust policies contradict each other",
        why=why,
        next="a project may add to your policy and tighten it; edit one of the two",
    )
