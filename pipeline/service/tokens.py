"""Who may speak to the service: tokens, which are shown once and stored as digests, and the callers they stand for.

A token is 256 random bits, so its SHA-256 needs neither salt nor stretching, and the look-up by digest leaks nothing by
its timing that a guesser could use. All SQL about tokens is here; how one travels: `pipeline.service.api.callers`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from pipeline.service.database import Database
from pipeline.service.tables import tokens
from pipeline.spec import JobError

PREFIX = "cm_"
"""So that people, and programs that look for leaked secrets, know one when they see it."""
USED_EVERY = timedelta(minutes=1)
"""How exactly `used_at` is kept: a row that changed with every request would make readers wait for writers."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}", re.ASCII)
_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_TOKEN = re.compile(r"cm_[A-Za-z0-9_-]{43}", re.ASCII)


class Role(StrEnum):
    READ = "read"
    SUBMIT = "submit"  # may read, too


@dataclass(frozen=True)
class Caller:
    """Somebody who asks. What a team's caller submits, cancels, retries, deletes and schedules is its team's."""

    name: str
    team: str
    role: Role


LOCAL = Caller("local", "default", Role.SUBMIT)
"""Everybody, while there is no token and the service listens to this machine alone."""


@dataclass(frozen=True)
class Token:
    """What is known of a token, which is not the token."""

    name: str
    team: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


def create(connection: sa.Connection, name: str, team: str = "default", role: str = Role.SUBMIT) -> str:
    """Make a token; the string returned is all there is of it. A revoked one's name may be used again.

    Raises JobError for a name that is taken, and for names and roles that cannot be.
    """
    if not _NAME.fullmatch(name) or name == LOCAL.name:
        raise JobError(f"token {name[:80]!r}: write letters, digits and . _ @ - alone, not {LOCAL.name}")
    if not _TEAM.fullmatch(team):
        raise JobError(f"team {team[:80]!r}: write letters, digits and . _ - alone, 64 at most")
    if role not in list(Role):
        raise JobError(f"role {role[:80]!r}: write {' or '.join(Role)}")
    token = PREFIX + secrets.token_urlsafe(32)
    connection.execute(tokens.delete().where((tokens.c.name == name) & tokens.c.revoked_at.is_not(None)))
    row = {"name": name, "team": team, "role": role, "digest": _digest(token), "created_at": datetime.now(UTC)}
    try:
        with connection.begin_nested():
            connection.execute(tokens.insert().values(row))
    except sa.exc.IntegrityError as error:
        raise JobError(f"token {name}: there is one; choose another name, or revoke it first") from error
    return token


def revoke(connection: sa.Connection, name: str) -> None:
    """End a token at once. Raises JobError where there is none of that name."""
    alive = (tokens.c.name == name) & tokens.c.revoked_at.is_(None)
    if connection.execute(tokens.update().where(alive).values(revoked_at=datetime.now(UTC))).rowcount != 1:
        raise JobError(f"token {name[:80]!r}: there is none that is not revoked; `crawlmill token list` lists them")


def listed(connection: sa.Connection) -> Sequence[Token]:
    """All tokens by name, the revoked ones, too."""
    columns = (tokens.c.name, tokens.c.team, tokens.c.role, tokens.c.created_at, tokens.c.revoked_at, tokens.c.used_at)
    query = sa.select(*columns).order_by(tokens.c.name)
    return [Token(row.name, row.team, Role(row.role), *row[3:]) for row in connection.execute(query)]


def exist(connection: sa.Connection) -> bool:
    """Whether there was ever a token: revoking the last one must not open the service to everybody."""
    return connection.execute(sa.select(tokens.c.name).limit(1)).first() is not None


def find(connection: sa.Connection, token: str) -> Caller | None:
    """Whose token this is; None for one that nobody made, or that is revoked."""
    row = _alive(connection, token)
    return _caller(row) if row is not None else None


def use(database: Database, token: str, now: datetime | None = None) -> Caller | None:
    """As `find`, and notes now and then that the token is in use."""
    now = now or datetime.now(UTC)
    with database.read() as connection:
        row = _alive(connection, token)
    if row is None:
        return None
    if row.used_at is None or now - row.used_at >= USED_EVERY:
        with database.write() as connection:
            connection.execute(tokens.update().where(tokens.c.digest == row.digest).values(used_at=now))
    return _caller(row)


def _alive(connection: sa.Connection, token: str) -> sa.Row[Any] | None:
    if not _TOKEN.fullmatch(token):
        return None
    alive = (tokens.c.digest == _digest(token)) & tokens.c.revoked_at.is_(None)
    return connection.execute(tokens.select().where(alive)).one_or_none()


def _caller(row: sa.Row[Any]) -> Caller:
    return Caller(row.name, row.team, Role(row.role))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
