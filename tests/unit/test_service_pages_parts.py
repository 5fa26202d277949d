"""What the service's pages are computed from, without a browser or a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service.scheduling.scheduler import EverySnapshot, Run, RunState, Schedule, Snapshot
from pipeline.service.web.calendar import calendar, foremost, states_of, week_of, weeks_in
from pipeline.service.web.grid import MAX_MARKS, NAMES, draw
from pipeline.service.web.progress_view import Snapshot as Progress
from pipeline.service.web.progress_view import funnel, milestone, read_snapshot
from pipeline.service.web.rendering import ago, as_yaml, bcp47
from pipeline.service.web.schedules_pages import NewForm
from pipeline.service.web.sign_in import here

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.text("drwf", min_size=1, max_size=9_000))
def test_every_shard_is_counted_and_every_mark_drawn(states: str) -> None:
    grid = draw(states)
    assert grid is not None
    assert sum(grid.counts.values()) == len(states)
    marks = sum(path.count("M") for path in grid.paths.values())
    assert marks == -(-len(states) // grid.each) <= MAX_MARKS
    assert marks <= grid.width * grid.height / 100


@pytest.mark.parametrize(
    "states, shown",
    [
        ("d" * 4_000, {"done"}),
        ("d" * 3_999 + "f", {"done", "unreadable"}),
        ("dw" * 2_000, {"running"}),  # begun, and not all done
        ("w" * 3_998 + "rw", {"waiting", "running"}),
        ("dx", {"done", "waiting"}),
    ],
)
def test_what_needs_a_look_is_never_averaged_away(states: str, shown: set[str]) -> None:
    grid = draw(states)
    assert grid is not None
    assert set(grid.paths) == shown


def test_a_hundred_thousand_shards_are_a_small_picture() -> None:
    grid = draw("d" * 60_000 + "w" * 40_000)
    assert grid is not None
    assert grid.each == 50
    assert sum(map(len, grid.paths.values())) < 100_000
    assert draw("") is None
    assert set(grid.counts) == set(NAMES.values())


PROGRESS: dict[str, Any] = {
    "phase": "shards",
    "shards": 4,
    "states": "ddfw",
    "shards_done": 3,
    "read": 1_000,
    "kept": 300,
    "stages": [
        {"stage": "read", "dropped": 100, "failed": 0, "seconds": 2.0},
        {"stage": "extract_html", "dropped": 200, "failed": 50, "seconds": 0.0},
    ],
}


def test_the_funnel_goes_from_stage_to_stage() -> None:
    snapshot = read_snapshot(PROGRESS)
    assert snapshot is not None
    rows = [(row.stage, row.coming, row.dropped, row.failed, row.out, row.rate) for row in funnel(snapshot)]
    assert rows == [("read", 1_000, 100, 0, 900, 500.0), ("extract_html", 900, 200, 50, 650, None)]
    assert (snapshot.shards_done, snapshot.share_done, snapshot.kept_share) == (3, 0.75, 0.3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"read": -1},
        {"rate": float("nan")},
        {"seconds_left": float("inf")},
        {"states": "d" * 100_001},
        {"states": 7},
        {"alarms": ["x"] * 1_001},
        {"stages": [{"stage": "x", "seconds": -1}]},
        {"kept": 2**63},
        {"step": {"stage": "x", "phase": "y", "done": 10**400, "tasks": 1}},
    ],
)
def test_progress_that_no_driver_writes_is_none(wrong: dict[str, Any]) -> None:
    assert read_snapshot(PROGRESS) is not None
    assert read_snapshot(PROGRESS | wrong) is None


@given(st.dictionaries(st.sampled_from(list(Progress.model_fields)), JSON))
def test_whatever_lies_where_progress_should_comes_out_as_numbers_or_nothing(content: dict[str, Any]) -> None:
    snapshot = read_snapshot(content)
    if snapshot is not None:
        assert all(row.coming >= 0 for row in funnel(snapshot))
        assert snapshot.share_done is None or 0 <= snapshot.share_done <= 1
        assert isinstance(snapshot.said + milestone(snapshot), str)


@pytest.mark.parametrize(
    "phase, after, step, said, at",
    [
        ("planning", None, None, "planning", "planning"),
        ("shards", None, None, "reading shards", "shards"),
        ("shards", "minhash", None, "going on after minhash", "shards"),
        ("minhash: clusters", None, ("minhash", "clusters", 3, 4), "minhash: clusters", "meetings"),
        ("data", None, ("data", "writing", 1, 2), "data: writing", "data"),
        ("over", None, None, "over", "over"),
    ],
)
def test_a_phase_is_said_in_words(phase: str, after: str | None, step: Any, said: str, at: str) -> None:
    made = step and dict(zip(("stage", "phase", "done", "tasks"), step))
    snapshot = Progress.model_validate({"phase": phase, "after": after, "step": made})
    assert (snapshot.said, milestone(snapshot)) == (said, at)


@pytest.mark.parametrize(
    "snapshot, place",
    [
        ("CC-MAIN-2026-43", (2026, 43)),
        ("CC-MAIN-2012", (2012, 1)),
        ("CC-MAIN-2009-2010", (2010, 1)),
        ("CC-MAIN-2026-00", None),
        ("CC-MAIN-2026-54", None),
        ("CC-MAIN-2026-4", None),
        ("CC-NEWS-2026-04", None),
        ("CC-MAIN-２０２６-43", None),
    ],
)
def test_a_snapshot_has_a_week(snapshot: str, place: tuple[int, int] | None) -> None:
    assert week_of(snapshot) == place


def test_the_calendar_has_all_weeks_of_years_with_snapshots() -> None:
    years = calendar(["CC-MAIN-2024-10", "CC-MAIN-2020-53", "CC-MAIN-2012", "CC-MAIN-2024-53", "odd"])
    assert [(year.number, len(year.weeks)) for year in years] == [(2024, 53), (2020, 53), (2012, 52)]
    assert years[0].weeks[9].ids == ["CC-MAIN-2024-10"]
    assert [week.number for week in years[2].weeks if week.ids] == [1]
    assert weeks_in(2020) == 53 and weeks_in(2024) == 52


def _schedule(**changed: Any) -> Schedule:
    usual = {"id": "s", "trigger": EverySnapshot("https://x/"), "since": NOW - timedelta(days=90)}
    return Schedule(**{**usual, "catch_up": False, "retries": 1, "retry_seconds": 60, "paused": False, **changed})


def _runs(**states: RunState) -> list[Run]:
    return [Run("s", f"CC-MAIN-2026-{week[1:]}", state, 1, NOW) for week, state in states.items()]


ALL, SINCE_38 = EverySnapshot("https://x/", "all"), EverySnapshot("https://x/", "CC-MAIN-2026-38")
KNOWN = [
    Snapshot("https://x/", "CC-MAIN-2026-30", None),
    *(Snapshot("https://x/", f"CC-MAIN-2026-{week}", NOW - timedelta(days=60)) for week in (34, 38, 43)),
]


@pytest.mark.parametrize(
    "changed, runs, states",
    [
        ({}, {}, {34: "missed", 38: "missed", 43: "due"}),
        ({"catch_up": True}, {}, {34: "due", 38: "due", 43: "due"}),
        ({}, {"w38": RunState.COMPLETE}, {34: "missed", 38: "complete", 43: "due"}),
        ({"catch_up": True}, {"w38": RunState.WAITING}, {34: "due", 38: "waiting", 43: "due"}),
        ({"paused": True}, {"w43": RunState.ACTIVE}, {34: "missed", 38: "missed", 43: "active"}),
        (
            {"trigger": EverySnapshot("https://x/", "all"), "catch_up": True},
            {},
            {30: "due", 34: "due", 38: "due", 43: "due"},
        ),
        ({"trigger": EverySnapshot("https://y/")}, {}, {}),
    ],
)
def test_a_schedule_says_what_becomes_of_each_snapshot(changed: Any, runs: Any, states: dict[int, str]) -> None:
    found = states_of(_schedule(**changed), _runs(**runs), KNOWN, NOW)
    assert found == {f"CC-MAIN-2026-{week}": state for week, state in states.items()}


def test_what_waits_for_a_person_is_shown_first() -> None:
    assert foremost({"a": "complete", "b": "waiting"}) == "waiting"
    assert foremost({"a": "missed", "b": "complete"}) == "complete"
    assert foremost({}) == "known"


@pytest.mark.parametrize(
    "seconds, said",
    [
        *((0, "just now"), (42, "42 s ago"), (3_599, "59 min ago"), (7_200, "2 h ago"), (3 * 86_400, "3 days ago")),
        *((-3_600, "in 1 h"), (90 * 86_400, "2026-08-23"), (-90 * 86_400, "2027-02-19")),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: int, said: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW).replace("\u202f", " ") == said


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:1",
        "",
        "/a\r\nSet-Cookie: x",
        "/\t/evil",
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(wanted: str) -> None:
    assert here(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/", "/jobs/abc", "/jobs/abc/records?url=https%3A//x/*&outcome=kept", "/?name=a"])
def test_whoever_signs_in_gets_to_what_they_wanted(wanted: str) -> None:
    assert here(wanted) == wanted


@pytest.mark.parametrize("language, said", [("eng_Latn", "eng-Latn"), ('x" onload="', ""), (None, ""), ("eng", "")])
def test_a_language_is_written_for_browsers(language: str | None, said: str) -> None:
    assert bcp47(language) == said


def test_a_spec_is_shown_as_it_was_written() -> None:
    assert as_yaml({"name": "über", "b": 1, "a": [1]}) == "name: über\nb: 1\na:\n- 1\n"


@pytest.mark.parametrize(
    "given_form, trigger",
    [
        (NewForm(job="{}"), {"snapshots": True}),
        (NewForm(job="{}", since=" CC-MAIN-2026-30 "), {"snapshots": True, "since": "CC-MAIN-2026-30"}),
        (NewForm(job="{}", kind="cron", zone=""), {"cron": "0 6 * * MON", "zone": "UTC"}),
    ],
)
def test_a_form_says_what_the_api_takes(given_form: NewForm, trigger: dict[str, Any]) -> None:
    content = given_form.content()
    assert content["trigger"] == trigger
    assert content["retry_seconds"] == 3_600
