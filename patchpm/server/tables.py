"""The tables of a registry server. SQLite and PostgreSQL hold the same ones."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.types import TypeEngine

from patchpm.server.immutable import protect

SCHEMA: Final = 1
"""Raised with every change of these tables."""

metadata = MetaData()


def _name(length: int) -> TypeEngine[str]:
    """Text that is compared and sorted by its bytes, whatever the language of the database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


settings = Table(
    "settings",
    metadata,
    Column("key", _name(40), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What all workers of a server share: the version of the schema, and the key that signs upload links."""

namespaces = Table(
    "namespaces",
    metadata,
    Column("name", _name(96), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("is_admin", Boolean, nullable=False, default=False),
    Column("disabled", Boolean, nullable=False, default=False),
)
Index("namespaces_in_any_case", func.lower(namespaces.c.name), unique=True)
"""Owners of repositories: kind `user` or `org`. An admin runs the whole server."""

members = Table(
    "members",
    metadata,
    Column("org", ForeignKey("namespaces.name", ondelete="CASCADE"), primary_key=True),
    Column("user", ForeignKey("namespaces.name", ondelete="CASCADE"), primary_key=True),
    Column("role", String(8), nullable=False),
)
"""Who may do what in an organisation: `read`, `write` or `admin`."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", _name(16), primary_key=True),
    Column("user", ForeignKey("namespaces.name", ondelete="CASCADE"), nullable=False),
    Column("label", String(100), nullable=False),
    Column("sha256", _name(64), nullable=False, unique=True),
    Column("scope", String(8), nullable=False),
    Column("namespace", ForeignKey("namespaces.name", ondelete="CASCADE")),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("expires", DateTime(timezone=True)),
    Column("revoked", DateTime(timezone=True)),
)
"""What stands for a user. Only the digest of the secret is kept. `namespace` narrows a token to one owner."""

repos = Table(
    "repos",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("namespace", ForeignKey("namespaces.name"), nullable=False),
    Column("name", _name(96), nullable=False),
    Column("private", Boolean, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("changed", DateTime(timezone=True), nullable=False),
    Column("card", JSON, nullable=False),
    Column("downloads", BigInteger, nullable=False, default=0),
    UniqueConstraint("kind", "namespace", "name"),
    Index("repos_by_change", "kind", "changed", "id"),
    Index("repos_by_downloads", "kind", "downloads", "id"),
    sqlite_autoincrement=True,  # an id is never given twice
)
Index("repos_in_any_case", repos.c.kind, repos.c.namespace, func.lower(repos.c.name), unique=True)
"""Repositories. `card` is the front matter of README.md on the branch `main`."""

repo_tags = Table(
    "repo_tags",
    metadata,
    Column("repo", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", _name(200), primary_key=True),
    Index("repo_tags_by_tag", "tag", "repo"),
)
"""What a repository can be found by; made from its card."""

lines = Table(
    "lines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("repo", ForeignKey("repos.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("from_line", ForeignKey("lines.id"), index=True),
    Column("from_number", Integer),
    sqlite_autoincrement=True,
)
"""Histories without forks. A branch that starts within another one goes on from there as a line."""

commits = Table(
    "commits",
    metadata,
    Column("sha", _name(40), primary_key=True),
    Column("line", ForeignKey("lines.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("author", String(96), nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    UniqueConstraint("line", "number"),
)
"""That a line has one commit of each number is the compare-and-swap: of two writers at once, one gets it."""

entries = Table(
    "entries",
    metadata,
    Column("line", ForeignKey("lines.id", ondelete="CASCADE"), primary_key=True),
    Column("path", _name(1024), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sha256", String(64), index=True),
    Column("size", BigInteger, nullable=False, default=0),
    Column("oid", String(40), nullable=False, default=""),
    Column("lfs", Boolean, nullable=False, default=False),
)
"""A path from a commit on: its blob's SHA-256, or NULL where the commit deletes it. `oid` is git's SHA-1 of it."""

received = Table(
    "received",
    metadata,
    Column("repo", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", _name(64), primary_key=True),
)
"""Which blobs were uploaded for a repository. Who knows the digest of a secret file does not get it by naming it."""

refs = Table(
    "refs",
    metadata,
    Column("repo", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("name", _name(200), primary_key=True),
    Column("sha", ForeignKey("commits.sha", ondelete="CASCADE"), nullable=False, index=True),
    Column("line", ForeignKey("lines.id", ondelete="CASCADE"), index=True),
)
"""Names of commits: kind `branch`, `tag` or `pr`. `line` is where a branch's next commit goes."""

refs.add_is_dependent_on(entries)
protect(refs, lines, commits, entries)

pulls = Table(
    "pulls",
    metadata,
    Column("repo", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("title", Text, nullable=False),
    Column("author", String(96), nullable=False),
    Column("status", String(8), nullable=False),
    Column("base", String(40), nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
)
"""Pull requests, `open`, `closed` or `merged`; their files are on the ref `pr/<number>`."""

comments = Table(
    "comments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("repo", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("author", String(96), nullable=False),
    Column("content", Text, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    ForeignKeyConstraint(["repo", "number"], ["pulls.repo", "pulls.number"], ondelete="CASCADE"),
    Index("comments_by_pull", "repo", "number"),
)
"""What was said about a pull request."""
