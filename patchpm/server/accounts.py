"""Users, organisations and tokens of a registry server."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError as DatabaseConflict

from patchpm.errors import CannotError, UsageError
from patchpm.server.access import ANYONE, ROLES, SCOPES, WRITE, Caller
from patchpm.server.commit_body import is_storable
from patchpm.server.database import SINGLE, WRITING
from patchpm.server.tables import members, namespaces, tokens

USER, ORG = "user", "org"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|[._-](?=[A-Za-z0-9])){0,38}", re.ASCII)
_RESERVED: Final = frozenset(
    {"api", "datasets", "health", "metrics", "models", "ready", "resolve", "spaces", "uploads"}
)
"""Names that would hide what the server itself answers."""
_PREFIX: Final = "ppm_"
"""So that scanners for leaked secrets can find tokens."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    id: str
    user: str
    label: str
    scope: str
    namespace: str | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None


class Accounts:
    """Everyone that a server knows.

    Args:
        engine: SQLite or PostgreSQL.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def caller(self, secret: str) -> Caller | None:
        """Whoever a token stands for; None for one that is unknown, expired or revoked."""
        now = datetime.now(UTC)
        of_token = (tokens.c.user, tokens.c.scope, tokens.c.namespace, tokens.c.label)
        wanted = (
            select(*of_token, namespaces.c.is_admin, members.c.org, members.c.role)
            .join(namespaces, namespaces.c.name == tokens.c.user)
            .outerjoin(members, members.c.user == tokens.c.user)
            .where(
                tokens.c.sha256 == _digest(secret),
                tokens.c.revoked.is_(None),
                or_(tokens.c.expires.is_(None), tokens.c.expires > now),
                namespaces.c.disabled.is_(False),
            )
        )
        with self._engine.connect().execution_options(**SINGLE) as db:
            rows = db.execute(wanted).all()
        if not rows:
            return None
        row = rows[0]
        roles = {member.org: member.role for member in rows if member.org is not None}
        return Caller(row.user, row.is_admin, row.scope, row.namespace, roles, row.label)

    def add(self, kind: str, name: str, *, is_admin: bool = False) -> None:
        """Add a user or an organisation.

        Raises:
            UsageError: `invalid-name`.
            CannotError: `account-exists`. Names that differ in case only are the same.
        """
        if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise UsageError(
                "invalid-name",
                f"{name[:100]!r} is no name of a user or an organisation",
                why="it takes up to 39 letters and digits with single dots, dashes or underscores between them, "
                f"and is none of {', '.join(sorted(_RESERVED))}",
            )
        values = {"name": name, "kind": kind, "created": datetime.now(UTC), "is_admin": is_admin, "disabled": False}
        try:
            with self._engine.connect().execution_options(**WRITING) as db, db.begin():
                db.execute(insert(namespaces).values(**values))
        except DatabaseConflict:
            raise CannotError("account-exists", f"there is an account {name} already") from None

    def kind(self, name: str) -> str | None:
        """`user` or `org`; None for a name that nobody has."""
        with self._engine.connect() as db:
            return db.execute(select(namespaces.c.kind).where(namespaces.c.name == name)).scalar_one_or_none()

    def is_empty(self) -> bool:
        """Whether there is no account yet."""
        with self._engine.connect() as db:
            return db.execute(select(namespaces.c.name).limit(1)).first() is None

    def names(self, kind: str) -> Sequence[str]:
        """All users, or all organisations, sorted."""
        wanted = select(namespaces.c.name).where(namespaces.c.kind == kind).order_by(namespaces.c.name)
        with self._engine.connect() as db:
            return list(db.execute(wanted).scalars())

    def members(self, org: str) -> dict[str, str]:
        """Users of an organisation with their roles."""
        with self._engine.connect() as db:
            wanted = select(members.c.user, members.c.role).where(members.c.org == org).order_by(members.c.user)
            return {member.user: member.role for member in db.execute(wanted)}

    def set_member(self, org: str, user: str, role: str | None) -> None:
        """Give a user a role in an organisation; None takes it away.

        Raises:
            CannotError: `unknown-account`.
        """
        self._require(org, ORG)
        self._require(user, USER)
        if role is not None and role not in ROLES:
            raise UsageError("invalid-role", f"{role!r} is no role", why=f"roles are {', '.join(ROLES)}")
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            db.execute(delete(members).where(and_(members.c.org == org, members.c.user == user)))
            if role is not None:
                db.execute(insert(members).values(org=org, user=user, role=role))

    def set_disabled(self, user: str, disabled: bool) -> None:
        """Turn away all tokens of a user, or take them again.

        Raises:
            CannotError: `unknown-account`.
        """
        self._require(user, USER)
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            db.execute(update(namespaces).where(namespaces.c.name == user).values(disabled=disabled))

    def issue(
        self, user: str, label: str, *, scope: str, namespace: str | None = None, expires: datetime | None = None
    ) -> tuple[str, str]:
        """Make a token.

        Args:
            user: Whom it stands for.
            label: What it is for.
            scope: `read` or `write`.
            namespace: The one owner whose repositories it opens; None for all that the user may.
            expires: When it ends.

        Returns:
            Its id, and the secret, which is kept nowhere.

        Raises:
            CannotError: `unknown-account`.
            UsageError: `invalid-scope`.
        """
        self._require(user, USER)
        if scope not in SCOPES:
            raise UsageError("invalid-scope", f"{scope!r} is no scope", why=f"scopes are {', '.join(SCOPES)}")
        if not is_storable(label):
            raise UsageError("invalid-label", "the label of a token must be text")
        if namespace is not None and self.kind(namespace) is None:
            raise CannotError("unknown-account", f"there is no account {namespace}")
        secret = _PREFIX + secrets.token_hex(20)
        made = Token(secrets.token_hex(4), user, label[:100], scope, namespace, datetime.now(UTC), expires, None)
        values = {name: getattr(made, name) for name in Token.__slots__}
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            db.execute(insert(tokens).values(sha256=_digest(secret), **values))
        return made.id, secret

    def tokens(self) -> Sequence[Token]:
        """All tokens, by user and age."""
        columns = [tokens.c[name] for name in Token.__slots__]
        with self._engine.connect() as db:
            rows = db.execute(select(*columns).order_by(tokens.c.user, tokens.c.created)).mappings()
            return [Token(**row) for row in rows]

    def revoke(self, token: str) -> None:
        """End a token now.

        Raises:
            CannotError: `unknown-token`.
        """
        with self._engine.connect().execution_options(**WRITING) as db, db.begin():
            done = db.execute(update(tokens).where(tokens.c.id == token).values(revoked=datetime.now(UTC)))
        if done.rowcount != 1:
            raise CannotError(
                "unknown-token", f"there is no token {token[:40]!r}", next="see `patchpm registry token list`"
            )

    def _require(self, name: str, kind: str) -> None:
        if self.kind(name) != kind:
            raise CannotError("unknown-account", f"there is no {kind} {name}")


def first_token(accounts: Accounts) -> str | None:
    """Make the user `admin` on a server that has no account yet, and a token for it; None on any other."""
    if not accounts.is_empty():
        return None
    accounts.add(USER, "admin", is_admin=True)
    return accounts.issue("admin", "first start", scope=WRITE)[1]


def caller_of(accounts: Accounts, authorization: str | None) -> Caller | None:
    """Whoever an `Authorization` header stands for: anyone without one, None for one that is not good."""
    if authorization is None:
        return ANYONE
    scheme, _, secret = authorization.partition(" ")
    return accounts.caller(secret.strip()) if scheme.lower() == "bearer" else None


def _digest(secret: str) -> str:
    # A token is 160 random bits, so a slow hash for passwords would add nothing.
    return hashlib.sha256(secret.encode()).hexdigest()
