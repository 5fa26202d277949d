"""Which jobs start: priorities, limits of all and of teams."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.admission import admitted, reasons_to_wait
from pipeline.service.jobs import Job, State
from pipeline.service.settings import Limits

_NOW = datetime(2026, 11, 21, tzinfo=UTC)
_JOB = Job(
    id="", name="j", team="a", priority=0, state=State.QUEUED, output="", attempt=0, lost=0, created_at=_NOW,
    created_by="ada", started_at=None, finished_at=None, changed_at=_NOW, said=None, progress=None, progress_at=None,
    run_id=None,
)  # fmt: skip


def queue(words: str) -> list[Job]:
    """`a b:running`: jobs of teams, in order; named after team and place."""
    made = []
    for place, word in enumerate(words.split()):
        team, _, state = word.partition(":")
        made.append(replace(_JOB, id=f"{team}{place}", team=team, state=State(state or "queued")))
    return made


@pytest.mark.parametrize(
    "waiting, limits, start",
    [
        ("", {}, []),
        ("a b c", {"running": 2}, ["a0", "b1"]),
        ("a:running b c", {"running": 2}, ["b1"]),
        ("a:cancelling a:starting b", {"running": 2}, []),
        ("a a a b", {"running": 3, "per_team": 2}, ["a0", "a1", "b3"]),
        ("a:running a a b", {"running": 9, "per_team": 2}, ["a1", "b3"]),
        ("a a b b", {"running": 9, "per_team": 1, "teams": {"b": 2}}, ["a0", "b2", "b3"]),
        ("a b", {"teams": {"a": 0}}, ["b1"]),
    ],
)
def test_who_starts(waiting: str, limits: dict[str, object], start: list[str]) -> None:
    assert [job.id for job in admitted(queue(waiting), Limits.model_validate(limits))] == start


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["queued", "queued", "running", "cancelling"]))),
    st.integers(1, 5),
    st.integers(1, 3),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
)
def test_limits_hold_and_nobody_waits_in_vain(
    words: list[tuple[str, str]], running: int, per_team: int, teams: dict[str, int]
) -> None:
    jobs = queue(" ".join(f"{team}:{state}" for team, state in words))
    limits = Limits(running=running, per_team=per_team, teams=teams)
    chosen = admitted(jobs, limits)
    before = [job for job in jobs if job.state != State.QUEUED]
    going = before + chosen
    assert not chosen or len(going) <= running
    for team in {job.team for job in chosen}:
        assert sum(job.team == team for job in going) <= teams.get(team, per_team)
    waiting = [job for job in jobs if job.state == State.QUEUED and job not in chosen]
    for job in waiting:
        full = sum(other.team == job.team for other in going) >= teams.get(job.team, per_team)
        assert full or len(going) >= running
    assert set(reasons_to_wait(jobs, limits)) == {job.id for job in waiting}


def test_who_waits_hears_why() -> None:
    said = reasons_to_wait(queue("a:running a b c"), Limits(running=2, per_team=1))
    assert said == {"a1": "team a runs 1 of 1", "c3": "2 of 2 jobs run, 1 wait before it"}
