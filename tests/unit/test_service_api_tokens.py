"""Tokens: shown once, found by their digest, ended at once; and who needs one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.service import tables, tokens
from pipeline.service.database import Database
from pipeline.service.tokens import Caller, Role
from pipeline.spec import JobError


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    made.upgrade()
    yield made
    made.engine.dispose()


def create(database: Database, *given: str) -> str:
    with database.write() as connection:
        return tokens.create(connection, *given)


def find(database: Database, token: str) -> Caller | None:
    with database.read() as connection:
        return tokens.find(connection, token)


def test_a_token_stands_for_its_caller_until_it_is_revoked(database: Database) -> None:
    token = create(database, "ci", "crawl", "read")
    assert token.startswith("cm_") and len(token) == 46
    assert find(database, token) == Caller("ci", "crawl", Role.READ)
    with database.write() as connection:
        tokens.revoke(connection, "ci")
    assert find(database, token) is None
    with database.read() as connection:
        assert tokens.exist(connection), "revoking the last one must open nothing"


def test_the_database_does_not_hold_what_lets_somebody_in(database: Database) -> None:
    token = create(database, "ci")
    with database.read() as connection:
        row = connection.execute(tables.tokens.select()).one()
    assert token not in str(row) and token.removeprefix("cm_") not in str(row)


def test_a_name_is_taken_until_it_is_revoked(database: Database) -> None:
    first = create(database, "ci")
    with pytest.raises(JobError, match="token ci: there is one"):
        create(database, "ci")
    with database.write() as connection:
        tokens.revoke(connection, "ci")
    second = create(database, "ci", "other")
    assert find(database, first) is None
    assert find(database, second) == Caller("ci", "other", Role.SUBMIT)


NEITHER = [
    ("", "t", "read"),
    ("a b", "t", "read"),
    ("x" * 129, "t", "read"),
    ("local", "t", "read"),
    ("a\n", "t", "read"),
]
NEITHER += [("a", "", "read"), ("a", "t\0", "read"), ("a", "x" * 65, "read"), ("a", "t", "admin")]


def test_names_teams_and_roles_that_cannot_be(database: Database) -> None:
    for given in NEITHER:
        with pytest.raises(JobError):
            create(database, *given)


def test_revoking_what_is_not_there(database: Database) -> None:
    with database.write() as connection, pytest.raises(JobError, match="token list"):
        tokens.revoke(connection, "nobody")


def test_strangers(database: Database) -> None:
    create(database, "ci")
    for token in ("", "cm_", "cm_" + "a" * 43, "x" * 46, "cm_" + "ä" * 43, "cm_\0" + "a" * 42, "' OR 1"):
        assert find(database, token) is None
        assert tokens.use(database, token) is None


def test_use_is_noted_once_a_minute(database: Database) -> None:
    token, at = create(database, "ci"), datetime(2026, 11, 21, 6, tzinfo=UTC)

    def used_after(seconds: int) -> datetime | None:
        assert tokens.use(database, token, at + timedelta(seconds=seconds)) is not None
        with database.read() as connection:
            return tokens.listed(connection)[0].used_at

    assert used_after(0) == at
    assert used_after(59) == at
    assert used_after(60) == at + timedelta(seconds=60)


def test_a_name_that_is_taken_leaves_the_transaction_alive(database: Database) -> None:
    create(database, "ci")
    with database.write() as connection:
        with pytest.raises(JobError, match="there is one"):
            tokens.create(connection, "ci")
        tokens.create(connection, "other")
    with database.read() as connection:
        assert [each.name for each in tokens.listed(connection)] == ["ci", "other"]
