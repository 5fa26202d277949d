"""Parts of files over a real socket, in an object store and on disk: the right bytes, few requests, one version."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pytest
from cc_mirror import RangedSite
from hypothesis import given
from hypothesis import strategies as st

from pipeline.budget import LocalBudget
from pipeline.faults import InputError
from pipeline.http import HttpFile
from pipeline.patience import Terms
from pipeline.places import BLOCK
from pipeline.ranges import GAP, TAIL, JoinedRanges, Range, SeekableParts, grouped, open_parts, open_ranges

DATA = bytes(range(251)) * 2_000
FREE = LocalBudget(100_000)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def terms(clock: Clock) -> Terms:
    return Terms(sleep=clock.sleep, clock=clock, today=clock)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangedSite]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "none").write_bytes(b"")
    with RangedSite(tmp_path) as site:
        yield site


@pytest.fixture(params=["http", "disk", "memory"])
def place(request: pytest.FixtureRequest, site: RangedSite, tmp_path: Path) -> str:
    fsspec.filesystem("memory").pipe_file("/parts/a", DATA)
    return {"http": site.url + "a", "disk": str(tmp_path / "a"), "memory": "memory://parts/a"}[request.param]


N = len(DATA)


STRETCHES = [(0, 1), (0, N), (5, 900), (N - 1, N), (N - 5, N + 5), (N, N + 9), (N + 5, N + 9)]


@pytest.mark.parametrize("start, stop", STRETCHES)
def test_a_part_is_these_bytes_wherever_the_file_lies(place: str, start: int, stop: int) -> None:
    parts = open_parts(place, FREE)
    assert parts.read(start, stop) == DATA[start:stop]
    assert parts.tail(7) == (N, DATA[-7:]) and parts.tail(N + 7) == (N, DATA)
    assert parts.read(start, stop) == DATA[start:stop]
    parts.close()


RANGES = [(0, 10), (10, 20), (30, 31), (100 + GAP, 200 + GAP), (N - 9, N), (N, N + 4), (N + 9, N + 20)]


def test_stretches_come_in_a_row(place: str) -> None:
    with open_ranges(place, RANGES, FREE) as stream:
        assert stream.read() == b"".join(DATA[start:stop] for start, stop in RANGES)


def test_neighbours_share_a_request_and_a_connection(site: RangedSite) -> None:
    with open_ranges(site.url + "a", RANGES, FREE) as stream:
        stream.read()
    assert [(status, size) for _, status, size in site.log] == [(206, 31), (206, 100), (206, 9)]
    assert site.connections == 1


@given(st.lists(st.tuples(st.integers(0, 3 * GAP), st.integers(1, BLOCK * 2)), max_size=30))
def test_groups_hold_what_is_near_and_no_more_than_a_request(steps: list[tuple[int, int]]) -> None:
    ranges: list[Range] = []
    for gap, length in steps:
        start = (ranges[-1][1] if ranges else 0) + gap
        ranges.append((start, start + length))
    groups = list(grouped(ranges))
    assert [each for group in groups for each in group] == ranges
    for group in groups:
        assert len(group) == 1 or group[-1][1] - group[0][0] <= BLOCK
        assert all(after[0] - before[1] <= GAP for before, after in pairwise(group))
    for group, following in pairwise(groups):
        assert following[0][0] - group[-1][1] > GAP or following[0][1] - group[0][0] > BLOCK


def test_a_stretch_longer_than_a_request_comes_in_several(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3 * BLOCK + 5))
    asked: list[Range] = []

    class Told:
        def read(self, start: int, stop: int) -> bytes:
            asked.append((start, stop))
            return parts.read(start, stop)

        def tail(self, count: int) -> tuple[int, bytes]:
            return parts.tail(count)

        def close(self) -> None:
            parts.close()

    parts = open_parts(str(tmp_path / "big"), FREE)
    with JoinedRanges(Told(), [(7, 2 * BLOCK), (2 * BLOCK + 1, 2**40), (2**40, 2**41)]) as stream:
        assert len(stream.readall()) == 3 * BLOCK + 5 - 8
    assert max(stop - start for start, stop in asked) == BLOCK
    assert len(asked) == 4, "nothing is asked for behind the end"


def test_a_file_that_seeks_asks_for_its_end_once(site: RangedSite) -> None:
    with SeekableParts(HttpFile(site.url + "a", FREE)) as stream:
        assert (stream.seek(-8, io.SEEK_END), stream.read(4), stream.read()) == (N - 8, DATA[-8:-4], DATA[-4:])
        assert (stream.seek(5), stream.read(10), stream.tell()) == (5, DATA[5:15], 15)
        assert (stream.seek(N - TAIL - 3), stream.read(9)) == (N - TAIL - 3, DATA[N - TAIL - 3 : N - TAIL + 6])
        assert (stream.seek(N + 5), stream.read(9)) == (N + 5, b"")
        assert stream.size == N and stream.bytes_read == TAIL + 10 + 9
    assert len(site.log) == 3


def test_requests_for_parts_wait_their_turn(site: RangedSite, clock: Clock, terms: Terms) -> None:
    file = HttpFile(site.url + "a", LocalBudget(0.5, clock), terms)
    for at in range(4):
        file.read(at, at + 1)
    assert clock.now == 6.0


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_busy_server_is_waited_for(site: RangedSite, clock: Clock, terms: Terms, status: int) -> None:
    site.faults = {"a": [status, status]}
    assert HttpFile(site.url + "a", LocalBudget(1000, clock), terms).read(3, 9) == DATA[3:9]
    assert clock.now >= 14 and [status for _, status, _ in site.log] == [status, status, 206]


def test_a_part_goes_on_where_it_broke(site: RangedSite, terms: Terms) -> None:
    site.faults = {"a": [("cut", 40_000), ("cut", 0), ("cut", 9)]}
    file = HttpFile(site.url + "a", FREE, terms)
    assert file.read(1000, 200_000) == DATA[1000:200_000]
    assert [size for _, _, size in site.log] == [199_000, 159_000, 159_000, 158_991]
    site.faults = {"a": [("cut", 4)]}
    assert file.tail(10) == (N, DATA[-10:])


@pytest.mark.parametrize("act", [lambda file: file.read(0, 9), lambda file: file.tail(9)], ids=["read", "tail"])
def test_a_file_that_changes_between_parts_is_an_error(site: RangedSite, terms: Terms, act: Any) -> None:
    file = HttpFile(site.url + "a", FREE, terms)
    file.read(5, 9)
    site.tag = '"2"'
    with pytest.raises(InputError, match=r"/a: changed while being read"):
        act(file)
    site.deaf = True
    with pytest.raises(InputError, match=r"/a: changed while being read"):
        act(file)


@pytest.mark.parametrize("act", [lambda file: file.read(0, 9), lambda file: file.tail(9)], ids=["read", "tail"])
def test_a_server_that_gives_the_whole_is_not_taken_for_one_that_gives_parts(
    site: RangedSite, terms: Terms, act: Any
) -> None:
    site.deaf = True
    with pytest.raises(InputError, match=r"/a: the server gives no parts of files"):
        act(HttpFile(site.url + "a", FREE, terms))
    assert len(site.log) == 1


def test_an_empty_file_has_no_parts_and_one_that_is_not_there_neither(site: RangedSite, terms: Terms) -> None:
    assert HttpFile(site.url + "none", FREE, terms).read(0, 9) == b""
    for path, complaint in (("none", "416"), ("gone", "404")):
        with pytest.raises(InputError, match=rf"/{path}: {complaint} "):
            HttpFile(site.url + path, FREE, terms).tail(9)
