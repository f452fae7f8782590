"""`patchpm trust`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import bold, columns, emit, line
from patchpm.patch.name import check_vendor
from patchpm.patch.strict_json import JsonValue
from patchpm.project.policy_file import edit_user_policy, load_policy
from patchpm.settings import Folders
from patchpm.trust.keys import PublicKey
from patchpm.trust.policy import Denial, EvaluatorTrust, KeySet, NamePattern, Policy, VendorTrust, key_set
from patchpm.trust.policy_toml import with_denial, with_evaluator, with_vendor, without

_keys_option = click.option(
    "--key", "keys", multiple=True, required=True, metavar="ed25519:…|p256:…", help="A public key. May be repeated."
)
_threshold_option = click.option(
    "--threshold", type=click.IntRange(1), default=1, show_default=True, help="How many of the keys must sign."
)


@click.group()
def command() -> None:
    """Show and edit whom this user trusts.

    Nothing here is learned on first use: compare a key with its owner by another way before you add it.
    """


@command.command("show", epilog="Example: patchpm trust show --json")
@project_option
@json_option
def show_command(folder: Path, as_json: bool) -> None:
    """Show the policy that holds here: built-in, the user's and the project's layers together."""
    policy = load_policy(Folders.of_user(), folder)
    emit(_described(policy), lambda: _show(policy), as_json=as_json)


@command.command("vendor", epilog="Example: patchpm trust vendor acme --key ed25519:… --domain toxicity")
@click.argument("name")
@_keys_option
@_threshold_option
@click.option("--domain", "domains", multiple=True, help="Accept patches of this domain only. May be repeated.")
@json_option
def vendor_command(name: str, keys: tuple[str, ...], threshold: int, domains: tuple[str, ...], as_json: bool) -> None:
    """Pin the keys of vendor NAME: whatever a registry says, its releases must be signed by these."""
    vendor = VendorTrust(check_vendor(name), _key_set(keys, threshold), tuple(sorted(domains)))
    _edit(lambda text: with_vendor(text, vendor), f"pinned {threshold} of {len(keys)} keys of {name}", as_json=as_json)


@command.command("evaluator", epilog="Example: patchpm trust evaluator labx --key ed25519:…")
@click.argument("name")
@_keys_option
@_threshold_option
@json_option
def evaluator_command(name: str, keys: tuple[str, ...], threshold: int, as_json: bool) -> None:
    """Believe the evaluations signed by NAME."""
    evaluator = EvaluatorTrust(check_vendor(name), _key_set(keys, threshold))
    _edit(lambda text: with_evaluator(text, evaluator), f"evaluations by {name} are believed", as_json=as_json)


@command.command("deny", epilog='Example: patchpm trust deny "acme/old-*" --reason "superseded"')
@click.argument("pattern")
@click.option("--reason", required=True, help="Shown to whoever meets the denial.")
@json_option
def deny_command(pattern: str, reason: str, as_json: bool) -> None:
    """Never accept patches whose name matches PATTERN (`*` stands for anything within one half)."""
    denial = Denial(NamePattern(pattern), reason)
    _edit(lambda text: with_denial(text, denial), f"{pattern} is denied", as_json=as_json)


@command.command("remove", epilog="Example: patchpm trust remove vendor acme")
@click.argument("kind", type=click.Choice(["registry", "vendor", "evaluator", "deny"]))
@click.argument("name")
@json_option
def remove_command(kind: str, name: str, as_json: bool) -> None:
    """Take an entry out of the user's policy."""
    _edit(lambda text: without(text or "version = 1\n", kind, name), f"{kind} {name} is removed", as_json=as_json)


def _edit(change: Callable[[str | None], str], done: str, *, as_json: bool) -> None:
    path = edit_user_policy(Folders.of_user(), change)
    emit({"policy": str(path), "done": done}, lambda: line(f"{done} ({path})"), as_json=as_json)


def _key_set(keys: tuple[str, ...], threshold: int) -> KeySet:
    return key_set([PublicKey.parse(text) for text in keys], threshold)


def _show(policy: Policy) -> None:
    line(bold("registries"))
    columns((f"  {item.alias}", item.url, " ".join(item.namespaces), str(item.root)) for item in policy.registries)
    for title, parties in (("vendors", policy.vendors), ("evaluators", policy.evaluators)):
        if parties:
            line(bold(f"{title} with pinned keys"))
            for party in parties:
                line(f"  {party.name}: {party.keys.threshold} of {len(party.keys.keys)}")
                for key in party.keys.sorted():
                    line(f"    {key}")
    if policy.demands:
        line(bold("demands"))
        columns(
            (
                f"  {item.match}",
                f"evaluated by {', '.join(item.evaluators) or 'nobody'}",
                f"at least {item.min_age} old",
            )
            for item in policy.demands
        )
    if policy.denials:
        line(bold("denials"))
        columns((f"  {item.match}", item.reason) for item in policy.denials)
    line(bold("limits"))
    line(f"  rows at most {policy.max_norm_ratio:g} times the longest row of the vocabulary")
    line(f"  base at least {policy.base_assurance.name.lower()}")
    if policy.max_tokens is not None:
        line(f"  at most {policy.max_tokens} prefix tokens in a set")


def _described(policy: Policy) -> JsonValue:
    def party(item: VendorTrust | EvaluatorTrust) -> JsonValue:
        return {
            "name": item.name,
            "keys": [str(key) for key in item.keys.sorted()],
            "threshold": item.keys.threshold,
        }

    return {
        "registries": [
            {"alias": item.alias, "url": item.url, "root": str(item.root), "namespaces": list(item.namespaces)}
            for item in policy.registries
        ],
        "vendors": [party(item) for item in policy.vendors],
        "evaluators": [party(item) for item in policy.evaluators],
        "demands": [
            {
                "match": str(item.match),
                "evaluators": list(item.evaluators),
                "min_age_hours": item.min_age.total_seconds() / 3600,
            }
            for item in policy.demands
        ],
        "denials": [{"match": str(item.match), "reason": item.reason} for item in policy.denials],
        "max_norm_ratio": policy.max_norm_ratio,
        "base_assurance": policy.base_assurance.name.lower(),
        "max_tokens": policy.max_tokens,
    }
