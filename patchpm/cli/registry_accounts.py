"""`patchpm registry account` and `patchpm registry token`: who may use a registry server, decided on its machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchpm.cli.extra import needs_extra
from patchpm.cli.options import json_option
from patchpm.cli.output import columns, emit, line, note
from patchpm.cli.registry_serve import database_url, store_options
from patchpm.patch.strict_json import JsonValue

if TYPE_CHECKING:
    from patchpm.server.accounts import Accounts

_DAY = timedelta(days=1)


@click.group("account")
def account_command() -> None:
    """Users and organisations of a registry server. Run it where the server's database can be reached."""


@click.group("token")
def token_command() -> None:
    """Tokens of a registry server: what users show instead of a password."""


def _with_accounts(function: Callable[..., None]) -> Callable[..., None]:
    @store_options
    @json_option
    @wraps(function)
    def run(data: Path | None, database: str | None, **options: Any) -> None:
        with needs_extra("server"):
            from patchpm.server.accounts import Accounts
            from patchpm.server.database import open_database
        function(Accounts(open_database(database_url(data, database))), **options)

    return run


@account_command.command("add", epilog="Example: patchpm registry account add acme --org")
@click.argument("name")
@click.option("--org", "is_org", is_flag=True, help="An organisation, which has members, instead of a user.")
@click.option("--admin", "is_admin", is_flag=True, help="A user who may do everything.")
@_with_accounts
def add_command(accounts: Accounts, name: str, is_org: bool, is_admin: bool, as_json: bool) -> None:
    """Add a user, or an organisation. Repositories are called `account/name`."""
    kind = "org" if is_org else "user"
    accounts.add(kind, name, is_admin=is_admin and not is_org)
    emit({"name": name, "kind": kind}, lambda: line(f"added the {kind} {name}"), as_json=as_json)


@account_command.command("member", epilog="Example: patchpm registry account member acme ann --role write")
@click.argument("org")
@click.argument("user")
@click.option("--role", type=click.Choice(["read", "write", "admin", "none"]), required=True)
@_with_accounts
def member_command(accounts: Accounts, org: str, user: str, role: str, as_json: bool) -> None:
    """Give USER a role in ORG: `read` private repositories, `write`, or `admin`; `none` takes it away."""
    accounts.set_member(org, user, None if role == "none" else role)
    emit(
        {"org": org, "user": user, "role": role}, lambda: line(f"{user} has the role {role} in {org}"), as_json=as_json
    )


@account_command.command("disable", epilog="Example: patchpm registry account disable ann")
@click.argument("user")
@click.option("--undo", is_flag=True, help="Let them in again.")
@_with_accounts
def disable_command(accounts: Accounts, user: str, undo: bool, as_json: bool) -> None:
    """Turn away all tokens of USER, from the next request on. What they published stays."""
    accounts.set_disabled(user, not undo)
    emit(
        {"user": user, "disabled": not undo},
        lambda: line(f"{user} is {'let in again' if undo else 'turned away'}"),
        as_json=as_json,
    )


@account_command.command("list", epilog="Example: patchpm registry account list")
@_with_accounts
def list_accounts_command(accounts: Accounts, as_json: bool) -> None:
    """List users, and organisations with their members."""
    users = list(accounts.names("user"))
    orgs = {org: accounts.members(org) for org in accounts.names("org")}

    def human() -> None:
        rows = [("user", name, "") for name in users]
        rows += [
            ("org", org, ", ".join(f"{user} ({role})" for user, role in roles.items())) for org, roles in orgs.items()
        ]
        columns(rows, ("kind", "name", "members"))

    shown: JsonValue = {"users": [*users], "orgs": {org: {**roles} for org, roles in orgs.items()}}
    emit(shown, human, as_json=as_json)


@token_command.command(
    "issue", epilog="Example: patchpm registry token issue ann --scope write --namespace acme --days 90"
)
@click.argument("user")
@click.option("--scope", type=click.Choice(["read", "write"]), default="read", show_default=True)
@click.option("--namespace", help="The one account whose repositories it opens. Default: all that the user may.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="When it ends.")
@click.option("--label", default="", help="What it is for.")
@_with_accounts
def issue_command(
    accounts: Accounts, user: str, scope: str, namespace: str | None, days: int, label: str, as_json: bool
) -> None:
    """Make a token for USER, and print it: it is kept nowhere."""
    expires = datetime.now(UTC) + days * _DAY
    key, secret = accounts.issue(user, label, scope=scope, namespace=namespace, expires=expires)

    def human() -> None:
        line(secret)
        note(f"token {key}, good until {expires:%Y-%m-%d}; the user keeps it with `patchpm login`")

    emit({"id": key, "token": secret, "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}, human, as_json=as_json)


@token_command.command("list", epilog="Example: patchpm registry token list")
@_with_accounts
def list_tokens_command(accounts: Accounts, as_json: bool) -> None:
    """List all tokens, without their secrets."""
    found = accounts.tokens()
    rows = [
        (
            token.id,
            token.user,
            token.scope,
            token.namespace or "",
            "revoked" if token.revoked else f"{token.expires:%Y-%m-%d}" if token.expires else "never",
            token.label,
        )
        for token in found
    ]
    heading = ("id", "user", "scope", "namespace", "ends", "label")
    emit([dict(zip(heading, row, strict=True)) for row in rows], lambda: columns(rows, heading), as_json=as_json)


@token_command.command("revoke", epilog="Example: patchpm registry token revoke 1f2e3d4c")
@click.argument("token")
@_with_accounts
def revoke_command(accounts: Accounts, token: str, as_json: bool) -> None:
    """End the token with the id TOKEN now."""
    accounts.revoke(token)
    emit({"id": token, "revoked": True}, lambda: line(f"{token} is revoked"), as_json=as_json)
