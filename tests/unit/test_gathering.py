"""What becomes of an index' entries: which can be, which a limit takes, and that the order they come in is nothing."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import gathering
from pipeline.gathering import Gathered, Gathering, TooMany
from stages.read.cc_index import ROWS

STEM = "crawl-data/CC-MAIN-2026-43/segments"
Entry = tuple[str | None, int | None, int | None]


def gathered(entries: list[Entry], limit: int | None = None, at_once: int = 3) -> Gathered:
    gathering = Gathering("CC-MAIN-2026-43", limit)
    for at in range(0, len(entries), at_once):
        columns = list(zip(*entries[at : at + at_once]))
        gathering.add(pa.table([pa.array(each, kind.type) for each, kind in zip(columns, ROWS)], schema=ROWS))
    return gathering.finish()


def rows(found: Gathered) -> list[tuple[str, int, int]]:
    columns = found.rows.to_pydict()
    return [(file.rpartition("/")[2], *numbers) for file, *numbers in zip(*(columns[name] for name in ROWS.names))]


IMPOSSIBLE: list[Entry] = [
    (None, 0, 5), (f"{STEM}/a", None, 5), (f"{STEM}/a", 0, None), (f"{STEM}/a", -1, 5), (f"{STEM}/a", 0, 0),
    (f"{STEM}/a", 0, -5), (f"{STEM}/a", 0, 2**31), (f"{STEM}/a", 2**62, 5), ("", 0, 5), ("/etc/passwd", 0, 5),
    (f"/{STEM}/a", 0, 5), (f"{STEM}/../../../x", 0, 5), (f"{STEM}//a", 0, 5), (f"{STEM}/a\n", 0, 5),
    (f"{STEM}/a?x=1", 0, 5), (f"{STEM}/a%2e", 0, 5), (f"s3://x/{STEM}/a", 0, 5),
    ("crawl-data/CC-MAIN-2026-44/segments/a", 0, 5), (f"{STEM}/" + "a" * 1024, 0, 5), (f"{STEM}/\u0430", 0, 5),
]  # fmt: skip


@pytest.mark.parametrize("entry", IMPOSSIBLE)
def test_an_entry_that_names_no_record_is_counted_and_passed_over(entry: Entry) -> None:
    found = gathered([(f"{STEM}/a.warc.gz", 7, 5), entry, (f"{STEM}/a.warc.gz", 0, 5)])
    assert rows(found) == [("a.warc.gz", 0, 5), ("a.warc.gz", 7, 5)]
    assert (found.impossible, found.clipped) == (1, 0)


def test_nothing_gathered_is_nothing() -> None:
    assert rows(gathered([])) == rows(gathered(IMPOSSIBLE)) == []


def test_a_record_named_twice_is_one_and_what_reaches_into_the_next_is_cut_there() -> None:
    a, b = f"{STEM}/a", f"{STEM}/b"
    found = gathered([(a, 10, 5), (a, 10, 5), (a, 0, 10), (a, 12, 9), (b, 11, 99), (b, 11, 7)])
    assert rows(found) == [("a", 0, 10), ("a", 10, 2), ("a", 12, 9), ("b", 11, 99)]
    assert found.clipped == 1


FILES = [f"{STEM}/{n:02}" for n in range(40)]
MANY: list[Entry] = [(file, offset * 10, 10) for file in FILES for offset in range(25)]


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.sampled_from([1, 24, 25, 26, 60, 999, 1000, 5000]), st.integers(40, 400))
def test_a_limit_takes_the_same_records_in_whatever_order_they_come(random: object, limit: int, at_once: int) -> None:
    shuffled = MANY + MANY[::3]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = rows(gathered(shuffled, limit, at_once))
    assert found == rows(gathered(MANY, limit, 1000))
    assert len(found) == min(limit, len(MANY))


def test_a_limit_takes_whole_files_from_all_over_the_crawl() -> None:
    found = rows(gathered(MANY, 110))
    by_file = [sum(file == name for file, _, _ in found) for name in sorted({file for file, _, _ in found})]
    assert sorted(by_file) == [10, 25, 25, 25, 25]
    part = next(name for name, count in zip(sorted({file for file, _, _ in found}), by_file) if count == 10)
    assert [offset for file, offset, _ in found if file == part] == list(range(0, 100, 10))
    numbers = sorted({int(file) for file, _, _ in found})
    assert numbers != list(range(5)) and numbers[-1] - numbers[0] > 10
    smaller = {(file, offset) for file, offset, _ in rows(gathered(MANY, 60))}
    assert smaller < {(file, offset) for file, offset, _ in found}, "a larger limit adds to what a smaller one takes"


def test_thinning_out_on_the_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = rows(gathered(MANY, 60, 1000))
    monkeypatch.setattr(gathering, "SLACK", 10)
    assert rows(gathered(MANY, 60, 7)) == wanted


def test_more_than_a_selection_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_RECORDS", 999)
    with pytest.raises(TooMany, match="more than 999 records; narrow it"):
        gathered(MANY)
    assert len(rows(gathered(MANY, 999))) == 999
    monkeypatch.setattr(gathering, "MAX_FILES", 39)
    with pytest.raises(TooMany, match="more than 39 files"):
        gathered(MANY, 5)
