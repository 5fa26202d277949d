"""Rows of different sources meet by key: every row once, in order, whatever the sizes; and again after a death."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from halls import drive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.engine.inline import InlineEngine
from pipeline.exchange import Exchange, Hall, MeetingFailed, Source, read_rows
from pipeline.store import Store

Row = tuple[int, int, str]
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEYS = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1), st.just(2**64 - 1), st.just(2**63))
ROWS = st.lists(st.tuples(KEYS, st.integers(-(2**63), 2**63 - 1), st.text(max_size=3)), max_size=60)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    with InlineEngine(requests_per_second=1) as engine:
        yield Hall(Store(str(tmp_path)), engine, "hall")


def table(rows: Sequence[Row]) -> pa.Table:
    keys, numbers, texts = zip(*rows) if rows else ((), (), ())
    return pa.table(
        {
            "key": pa.array(keys, pa.uint64()),
            "number": pa.array(numbers, pa.int64()),
            "text": pa.array(texts, pa.string()),
        }
    )


def emit(sizes: Sequence[int], store: Store, rows: Sequence[Row]) -> Iterator[pa.Table]:
    """The rows in tables of the given sizes, the last of what remains."""
    ends = [*np.cumsum(sizes), len(rows)]
    yield from (table(rows[low:high]) for low, high in zip([0, *ends], ends))


def windows_as_they_come(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    yield from (("all", window) for window in windows)


def exchange(sizes: Sequence[int] = (), **options: Any) -> Exchange:
    return Exchange("e", partial(emit, sizes), windows_as_they_come, ("key", "number"), 20, **options)


def rows_of(hall: Hall, outputs: dict[str, Any]) -> list[Row]:
    found = pa.concat_tables([table([]), *hall.read(outputs.get("all", []))])
    return [tuple(row.values()) for row in found.to_pylist()]


@quick
@given(
    st.lists(ROWS, max_size=5),
    st.lists(st.integers(0, 9), max_size=4),
    st.integers(1, 2000),
    st.integers(1, 300),
    st.booleans(),
)
def test_all_rows_come_in_order_whatever_the_sizes(
    hall: Hall, sources: list[list[Row]], sizes: list[int], task_bytes: int, batch_bytes: int, lie: bool
) -> None:
    small = Hall(hall.store, hall.engine, "small", task_bytes, batch_bytes)
    items = [Source(rows, 1 if lie else len(rows)) for rows in sources]
    found = rows_of(small, drive(small.run(exchange(sizes), items))[0])
    hall.store.remove_tree("small")
    assert [row[:2] for row in found] == sorted(row[:2] for rows in sources for row in rows)
    assert sorted(found) == sorted(row for rows in sources for row in rows)


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_a_key_that_has_nearly_all_rows_comes_in_small_windows(hall: Hall, order: str) -> None:
    random = np.random.default_rng(5)
    count, task_bytes = 40_000, 40_000
    keys = np.where(np.arange(count) % 10 > 0, np.uint64(2**63 + 5), random.integers(0, 2**64, count, dtype=np.uint64))
    values = random.integers(-5_000, 5_000, count)
    if order == "sorted":
        places = np.lexsort((values, keys))
        keys, values = keys[places], values[places]
    rows = [(key, value, "") for key, value in zip(keys.tolist(), values.tolist())]
    sizes: list[int] = []

    def note(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
        for window in windows:
            sizes.append(window.nbytes)
            yield "all", window

    small = Hall(hall.store, hall.engine, "small", task_bytes, 2_000)
    parts = [Source(rows[start : start + 1_000], 1_000) for start in range(0, count, 1_000)]
    skewed = Exchange("e", partial(emit, ()), note, ("key", "number"), 20)
    outputs, _ = drive(small.run(skewed, parts))
    assert rows_of(small, outputs) == sorted(rows)
    assert max(sizes) <= 2 * task_bytes
    assert max(batch.nbytes for batch in small.read(outputs["all"])) <= 2 * 2_000


def test_given_bounds_are_the_first_keys_of_partitions(hall: Hall) -> None:
    rows = [(key, 0, "") for key in (0, 4, 5, 6, 9, 2**64 - 1)]
    outputs, _ = drive(hall.run(exchange(bounds=(5, 7, 9)), [Source(rows, 6)]))
    found = [pa.concat_tables(read_rows(hall.store, each)).column("key").to_pylist() for each in outputs["all"]]
    assert found == [[0, 4], [5, 6], [9, 2**64 - 1]]
    assert [each.rows for each in outputs["all"]] == [2, 2, 2]
    assert [each.bytes for each in outputs["all"]] == [hall.store.size(each.path) for each in outputs["all"]]


def test_steps_tell_how_far_it_is(hall: Hall) -> None:
    small = Hall(hall.store, hall.engine, "small", task_bytes=100)
    _, steps = drive(small.run(exchange(), [Source([(n << 60, 0, "")] * 5, 5) for n in range(4)]))
    phases = {phase: [step for step in steps if step.phase == phase] for phase in ("e scatter", "e gather")}
    for seen in phases.values():
        assert [step.done for step in seen] == list(range(seen[0].tasks + 1))
        assert 10**7 < seen[-1].peak_memory < 10**11
    assert [seen[0].tasks for seen in phases.values()] == [4, 1]  # all keys are in the lowest quarter


def test_what_is_finished_is_not_done_again_and_leaves_no_runs(hall: Hall) -> None:
    outputs, _ = drive(hall.run(exchange(), [Source([(1, 2, "x")], 1)]))
    assert hall.store.list("hall") == sorted(["hall/e.json", outputs["all"][0].path])
    again, steps = drive(hall.run(Exchange("e", fail, fail, ("key",), 8), [Source(None, 1)]))
    assert (again, steps) == (outputs, [])
    hall.discard(outputs["all"])
    hall.discard(outputs["all"])
    assert hall.store.list("hall") == ["hall/e.json"]


def fail(store: Store, item: Any) -> Iterator[Any]:
    raise ZeroDivisionError("never")
    yield


class Died(BaseException):
    """What no engine catches."""


def die_after(limit: list[int], store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    for window in windows:
        yield "all", window
        limit[0] -= 1
        if limit[0] == 0:
            raise Died


def die_while_emitting(limit: list[int], store: Store, rows: Sequence[Row]) -> Iterator[pa.Table]:
    yield table(rows)
    limit[0] -= 1
    if limit[0] == 0:
        raise Died


@pytest.mark.parametrize("phase", ["scatter", "gather"])
@pytest.mark.parametrize("when", [1, 3])
def test_a_run_that_died_goes_on_and_ends_the_same(hall: Hall, phase: str, when: int) -> None:
    rows = [(n * 2**58 + n, n, "") for n in range(60)]
    sources = [Source(rows[n::6], 10) for n in range(6)]
    whole = Hall(hall.store, hall.engine, "whole", task_bytes=200)
    small = Hall(hall.store, hall.engine, "small", task_bytes=200)
    undisturbed, _ = drive(whole.run(exchange(), sources))
    emitted: list[int] = []

    def emit_and_note(store: Store, rows: Sequence[Row]) -> Iterator[pa.Table]:
        emitted.append(len(rows))
        yield table(rows)

    dying = {
        "scatter": Exchange("e", partial(die_while_emitting, [when]), windows_as_they_come, ("key", "number"), 20),
        "gather": Exchange("e", partial(emit, ()), partial(die_after, [when]), ("key", "number"), 20),
    }
    with pytest.raises(Died):
        drive(small.run(dying[phase], sources))
    if when > 1:
        assert len(small.store.list("small")) > 0
    outputs, _ = drive(small.run(Exchange("e", emit_and_note, windows_as_they_come, ("key", "number"), 20), sources))
    assert len(emitted) == (6 if phase == "scatter" else 0)
    assert rows_of(small, outputs) == rows_of(whole, undisturbed) == rows
    assert small.store.list("small") == sorted(["small/e.json", *(each.path for each in outputs["all"])])


def test_errors_of_tasks_end_the_run_and_say_where(hall: Hall) -> None:
    with pytest.raises(MeetingFailed, match="^e scatter 0: ZeroDivisionError: never$"):
        drive(hall.run(Exchange("e", fail, fail, ("key",), 8), [Source(None, 1)]))
    with pytest.raises(MeetingFailed, match="^e gather 0: ZeroDivisionError: never$"):
        drive(hall.run(Exchange("e", partial(emit, ()), fail, ("key",), 8), [Source([(1, 1, "")], 1)]))
    reads_nothing = Exchange("f", read_rows, fail, ("key",), 8)
    missing = drive(hall.run(exchange(), [Source([(1, 1, "")], 1)]))[0]["all"][0]
    hall.discard([missing])
    with pytest.raises(MeetingFailed, match=f"^{hall.store.root}/{missing.path}: No such file"):
        drive(hall.run(reads_nothing, [Source(missing, 1)]))


@pytest.mark.parametrize(
    "columns",
    [{"key": pa.array([1, 2], pa.int64())}, {"key": pa.array([1, None], pa.uint64())}],
    ids=["signed", "null"],
)
def test_keys_that_would_be_sorted_wrongly_are_refused(hall: Hall, columns: dict[str, pa.Array]) -> None:
    def emit_wrong(store: Store, item: None) -> Iterator[pa.Table]:
        yield pa.table(columns)

    with pytest.raises(MeetingFailed, match="e scatter 0"):
        drive(hall.run(Exchange("e", emit_wrong, windows_as_they_come, ("key",), 8), [Source(None, 2)]))


def test_nothing_in_makes_nothing_out(hall: Hall) -> None:
    assert drive(hall.run(exchange(), []))[0] == {}
    empty = Exchange("empty", partial(emit, ()), windows_as_they_come, ("key",), 8)
    assert drive(hall.run(empty, [Source([], 100)]))[0] == {}


def test_an_object_store_serves_as_well() -> None:
    rows = [(n * 2**58, n, "x" * n) for n in range(60)]
    with InlineEngine(requests_per_second=1) as engine:
        hall = Hall(Store("memory://exchange"), engine, "hall", task_bytes=300, batch_bytes=100)
        with pytest.raises(MeetingFailed):
            drive(
                hall.run(Exchange("e", partial(emit, ()), fail_late, ("key", "number"), 20), [Source(rows[::-1], 60)])
            )
        assert not [path for path in hall.store.list("hall") if "/out/" in path]
        outputs, _ = drive(hall.run(exchange(), [Source(rows[::-1], 60)]))
        assert rows_of(hall, outputs) == rows
        hall.store.remove_tree("hall")


def fail_late(store: Store, windows: Iterator[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    yield "all", next(windows)
    raise ZeroDivisionError
