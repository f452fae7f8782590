"""Opening the database of a registry server."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, make_url, select
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from patchpm.errors import CannotError, NetworkError, UsageError
from patchpm.server.tables import SCHEMA, metadata, settings

WRITING: Final = {"writing": True}
"""Execution options of a transaction that writes."""
SINGLE: Final = {"single": True}
"""Execution options of a connection that reads with one statement, which needs no transaction around it."""
_MAKING_TABLES: Final = 0x7061746368
"""Key of the lock, in PostgreSQL, of servers that start at the same moment."""
_BUSY_MILLISECONDS: Final = 30_000


def open_database(url: str) -> Engine:
    """Connect, and make the tables where there are none.

    Args:
        url: `sqlite:///path` or `postgresql://user@host/name`.

    Raises:
        UsageError: `unsupported-database`.
        CannotError: `newer-database`.
        NetworkError: `unreachable`.
    """
    engine = _engine(url)
    try:
        with engine.connect().execution_options(**WRITING) as db, db.begin():
            if db.dialect.name == "postgresql":
                db.execute(select(func.pg_advisory_xact_lock(_MAKING_TABLES)))
            metadata.create_all(db)
        version = int(shared_setting(engine, "schema", str(SCHEMA)))
    except SQLAlchemyError as error:
        raise NetworkError(
            "unreachable",
            "the database cannot be used",
            why=str(error.args[0] if error.args else error).strip().split("\n", maxsplit=1)[0][:300],
            next="check its address, that it runs, and that this user may make tables in it",
        ) from None
    if version != SCHEMA:
        raise CannotError(
            "newer-database",
            f"the database has schema {version}, and this patchpm knows {SCHEMA}",
            next="use the version of patchpm that made it",
        )
    return engine


def shared_setting(engine: Engine, key: str, value: str | None = None) -> str:
    """A setting that all workers share; the first one to ask makes it, of `value` or of random characters."""
    wanted = select(settings.c.value).where(settings.c.key == key)
    with engine.connect() as db:
        found = db.execute(wanted).scalar_one_or_none()
    if found is None:
        try:
            with engine.connect().execution_options(**WRITING) as db, db.begin():
                db.execute(insert(settings).values(key=key, value=value or secrets.token_hex(32)))
        except IntegrityError:
            pass  # another worker was faster
        with engine.connect() as db:
            found = db.execute(wanted).scalar_one()
    return str(found)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            driver = parsed.set(drivername="postgresql+psycopg")
            return create_engine(driver, pool_size=8, max_overflow=32, hide_parameters=True)
        if parsed.get_backend_name() != "sqlite":
            raise ArgumentError(f"{parsed.get_backend_name()} is neither sqlite nor postgresql")
        engine = create_engine(parsed, pool_size=8, max_overflow=64, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(
            "unsupported-database",
            "this is no database that the server can use",
            why=str(error).split("\n", maxsplit=1)[0][:300],
            next="give sqlite:///absolute/path or postgresql://user@host/name",
        ) from None
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # transactions are begun below
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a release that was acknowledged survives a power cut
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_MILLISECONDS}",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer can be refused at once, whatever the timeout; so writers say so at the start.
    options = connection.get_execution_options()
    if not options.get("single", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writing", False) else "BEGIN")
