"""Conditions in SQL over an index: what they take, what of the file they read, and which are refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep, thread_time
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.budget import LocalBudget
from pipeline.ranges import Parts, SeekableParts, open_parts
from stages.read.cc_index import IndexQuery, NotAnIndex, index_folder, index_list
from stages.read.condition import WrongCondition

SNAPSHOT = "CC-MAIN-2026-43"
ROWS = 1000
GROUP = 100
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
COLUMNS = {
    "url": pa.array([f"http://{n % 3}.example/{n:05}" + "x" * 500 + str(n**9) for n in range(ROWS)]),
    "url_host_tld": pa.array(["org" if n % 2 else "com" for n in range(ROWS)]),
    "fetch_time": pa.array([NOON + timedelta(days=n // GROUP) for n in range(ROWS)], pa.timestamp("ms", "UTC")),
    "fetch_status": pa.array([200] * ROWS, pa.int16()),
    "content_mime_detected": pa.array(["application/pdf" if n >= 890 else "text/html" for n in range(ROWS)]),
    "warc_filename": pa.array([f"f{n % 7}" for n in range(ROWS)]),
    "warc_record_offset": pa.array(range(ROWS), pa.int32()),
    "warc_record_length": pa.array([5] * ROWS, pa.int32()),
}  # fmt: skip


def parquet(columns: dict[str, pa.Array], group: int = GROUP) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=group)
    return out.getvalue()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "part.parquet"
    path.write_bytes(parquet(COLUMNS))
    return path


class Counting:
    """Parts that know what was asked of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self.asked = parts, list[tuple[int, int]]()

    def read(self, start: int, stop: int) -> bytes:
        self.asked.append((start, stop))
        return self._parts.read(start, stop)

    def tail(self, count: int) -> tuple[int, bytes]:
        return self._parts.tail(count)

    def close(self) -> None:
        self._parts.close()


def offsets(path: Path, where: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The offsets that a condition takes, and the reads that it took beyond the file's end."""
    parts = Counting(open_parts(str(path), LocalBudget(1)))
    query = IndexQuery(where, SNAPSHOT)
    with SeekableParts(parts) as stream:
        found = [n for rows in query.rows(cast(BinaryIO, stream)) for n in rows.column("offset").to_pylist()]
    query.close()
    return found, parts.asked


@pytest.mark.parametrize(
    "where, taken",
    [
        ("content_mime_detected = 'application/pdf'", range(890, ROWS)),
        ("Content_Mime_Detected LIKE '%/pdf' AND url_host_tld = 'org'", range(891, ROWS, 2)),
        ("fetch_status = 200 AND warc_record_offset IN (3, 5) -- the two", [3, 5]),
        ("fetch_time >= '2026-10-10 12:00:00'", range(900, ROWS)),
        (f"crawl = '{SNAPSHOT}' AND subset = 'warc' AND warc_record_offset < 2", [0, 1]),
        ("crawl = 'CC-MAIN-2026-38'", []),
        ("url_host_tld IS NULL", []),
        ("true", range(ROWS)),
        ("regexp_matches(url, '/0000[12]x')", [1, 2]),
        ("hash(url) IS NOT NULL AND url SIMILAR TO '.*/0000[12]x+[0-9]+'", [1, 2]),
        ("url ^@ 'http' AND url NOT LIKE '%x' AND warc_record_offset NOT BETWEEN 2 AND 999", [0, 1]),
        ("CAST(date_trunc('day', fetch_time) AS DATE) > DATE '2026-10-10' - INTERVAL 1 DAY", range(900, ROWS)),
        ("coalesce(url_host_tld, 'é') = 'case' OR split_part(url, '/', 4)[1:5] = '00007'", [7]),
    ],
)
def test_a_condition_takes_what_it_says(index: Path, where: str, taken: range | list[int]) -> None:
    assert offsets(index, where)[0] == list(taken)


def test_only_what_is_needed_is_read(index: Path) -> None:
    size, groups = index.stat().st_size, ROWS // GROUP
    found, asked = offsets(index, "content_mime_detected = 'application/pdf'")
    assert len(found) == 110
    assert len(asked) <= 2, "statistics rule out eight groups of ten"
    assert sum(stop - start for start, stop in asked) < size / 20
    _, asked = offsets(index, "url_host_tld = 'org'")
    assert len(asked) <= groups, "one request for the columns of a group"
    assert sum(stop - start for start, stop in asked) < size / 5


@pytest.mark.parametrize(
    "where, complaint",
    [
        ("content_mime_detected = 'application/pdf' LIMIT 3", 'syntax error at or near "LIMIT"'),
        ("fetch_status = ", "syntax error"),
        ("true) OR (false", None),
        ("true), (false", "not one condition"),
        ("true) UNION SELECT (true", "not one condition"),
        ("true) FROM range(9) WHERE (true", "not one condition"),
        ("true; DROP TABLE index", "syntax error"),
        ("/* ", "unterminated"),
        ("random() < 0.5", "random says something else each time"),
        ("fetch_time > now()", "now says something else"),
        ("fetch_time > CURRENT_DATE", "CURRENT_DATE says something else"),
        ("fetch_status IN (SELECT 200)", "a query of its own"),
        ("EXISTS (FROM read_text('/etc/passwd'))", "a query of its own"),
        ("(" * 2000 + "1" + ")" * 2000, "depth"),
        ("lower(" * 101 + "url" + ")" * 101 + " = 'x'", "depth"),
        ("sum(fetch_status) > 1", "sum is no function that a condition may use"),
        ("sum(fetch_status) OVER () > 1", "sum is not taken"),
        ("nosuch(url)", "nosuch is no function"),
        ("regex_matches(url, 'x')", "did you mean regexp_matches"),
        ("fetch_status = $1", "parameter is not taken"),
        ("COLUMNS('.*') = 1", "star is not taken"),
        ("'\ud800' = url", "not UTF-8"),
        # at other files, the environment, the configuration
        ("read_text('/etc/passwd') = 'x'", "read_text is no function"),
        ("getenv('HOME') = '/root'", "getenv is no function"),
        ("current_setting('memory_limit') = ''", "current_setting"),
        ("getvariable('x') IS NULL", "getvariable"),
        ("setseed(1) IS NULL", "setseed"),
        ("sleep_ms(100000) IS NULL", "sleep_ms"),
        ("write_log('x') IS NULL", "write_log"),
        ("main.lower(url) = 'x'", "lower is no function"),
        # more memory than DuckDB counts
        ("length(repeat(url, 1000000)) > 5", "repeat is no function"),
        ("length(lpad(url, 1000000000, 'x')) > 5", "lpad is no function"),
        ("length(format('{:1000000000}', 1)) > 5", "format is no function"),
        ("length(replace(replace(url, 'x', 'xxxxxxxxx'), 'x', 'xxxxxxxxx')) > 5", "replace is no function"),
        ("url || url || url = 'x'", "|| is no function"),
        ("concat(url, url) = 'x'", "concat is no function"),
        ("len(range(1000000000)) > 5", "range is no function"),
        ("[url, url][1] = 'x'", "list_value is no function"),
        ("string_split(url, '')[1] = 'x'", "string_split is no function"),
        ("list_reduce([1, 2], lambda x, y: x + y) > 1", "is not taken|is no function"),
        ("CAST(NULL AS INT[100000][100000]) IS NULL", "array is no type"),
        ("url::json IS NULL", "json is no type"),
        # time that no interrupt ends
        ("levenshtein(url, url) > 1", "levenshtein is no function"),
        ("factorial(33) > 1", "factorial is no function"),
        ("nullif(url, 'x') IS NULL", "nullif is no function"),
        ("CASE " * 40 + "fetch_status" + " WHEN 1 THEN 2 WHEN 3 THEN 4 END" * 40 + " = 1", "CASE is not taken"),
        ("url = 'é' OR case WHEN true THEN false END", "CASE is not taken"),
        ("(" * 40 + "fetch_status" + " BETWEEN 0 AND 1)::INT" * 40 + " = 1", "BETWEEN stands inside another"),
    ],
)
def test_a_condition_that_no_index_could_answer_is_refused_unread(where: str, complaint: str | None) -> None:
    if complaint is None:
        IndexQuery(where, SNAPSHOT).close()
        return
    with pytest.raises(WrongCondition, match=complaint.replace("||", r"\|\|")) as raised:
        IndexQuery(where, SNAPSHOT)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "where, complaint",
    [
        ("content_mime = 'x'", "content_mime"),
        ("fetch_status = 'pdf'", "Could not convert"),
        ("url", "Could not convert"),
        ("ROWS = 1", "ROWS"),  # a variable of this module
    ],
)
def test_a_condition_that_this_index_cannot_answer_is_said_in_one_line(index: Path, where: str, complaint: str) -> None:
    with pytest.raises(WrongCondition, match=complaint) as raised:
        offsets(index, where)
    assert "\n" not in str(raised.value)


def test_a_condition_has_so_much_processor_time() -> None:
    columns = {name: pa.concat_arrays([column] * 20) for name, column in COLUMNS.items()}
    data, slow = (
        parquet(columns, 20 * ROWS),
        " OR ".join(f"regexp_matches(url, '(.*){n}[a-x]{{200}}y$')" for n in range(400)),
    )
    start = thread_time()
    assert [rows.num_rows for rows in IndexQuery(slow, SNAPSHOT).rows(io.BytesIO(data))] == [0]
    whole = thread_time() - start
    query = IndexQuery(slow, SNAPSHOT, seconds=0.01)
    for _ in range(2):  # an interrupt ends one evaluation, and the next begins anew
        start = thread_time()
        with pytest.raises(WrongCondition, match="takes more than 0.01 s of processor time"):
            list(query.rows(io.BytesIO(data)))
        assert thread_time() - start < whole / 2


def test_a_condition_that_no_interrupt_ended_in_time_has_taken_too_long_all_the_same(index: Path) -> None:
    query = IndexQuery("warc_record_offset < 3", SNAPSHOT, seconds=1e-6)  # over before the first batch of rows is
    with index.open("rb") as stream, pytest.raises(WrongCondition, match="processor time"):
        list(query.rows(stream))


def test_waiting_for_storage_is_not_the_conditions_time(index: Path) -> None:
    class Slow(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            sleep(0.1)
            return super().read(size)

    query = IndexQuery("warc_record_offset < 3", SNAPSHOT, seconds=0.1)
    start = monotonic()
    with Slow(index) as stream:
        assert sum(rows.num_rows for rows in query.rows(cast(BinaryIO, stream))) == 3
    assert monotonic() - start > 0.2, "there was something to wait for"


def test_a_snapshot_is_a_name_and_no_sql(index: Path) -> None:
    query = IndexQuery("crawl = 'a''b'", "a'b")
    with index.open("rb") as stream:
        assert sum(rows.num_rows for rows in query.rows(stream)) == ROWS


def test_an_unknown_column_is_named_beside_those_that_are_known(index: Path) -> None:
    with pytest.raises(WrongCondition) as raised:
        offsets(index, "url_host_tdl = 'org'")
    assert raised.value.column == "url_host_tdl"
    assert raised.value.known == (*COLUMNS, "crawl", "subset")


def broken() -> Iterator[tuple[str, bytes, str]]:
    good = parquet(COLUMNS)
    yield "html", b"<html>", "not a Parquet file"
    yield "empty", b"", "not a Parquet file"
    yield "cut", good[:-100], "not a Parquet file"
    yield "damaged", good[:4] + bytes(len(good) - 30_004) + good[-30_000:], "damaged"
    yield "other", parquet({"url": COLUMNS["url"]}), "no column warc_filename"


@pytest.mark.parametrize("data, complaint", [case[1:] for case in broken()], ids=[case[0] for case in broken()])
def test_a_file_that_is_no_index_is_said_in_one_line(tmp_path: Path, data: bytes, complaint: str) -> None:
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(NotAnIndex, match=complaint) as raised:
        offsets(tmp_path / "x.parquet", "url IS NOT NULL")
    assert "\n" not in str(raised.value)


def test_numbers_that_are_none_come_as_null(tmp_path: Path) -> None:
    columns = {**COLUMNS, "warc_record_offset": pa.array(["7", "x", None, "-1"] * (ROWS // 4))}
    (tmp_path / "x.parquet").write_bytes(parquet(columns))
    assert offsets(tmp_path / "x.parquet", "warc_record_length = 5")[0][:4] == [7, None, None, -1]


def test_where_an_index_lies() -> None:
    assert index_list(SNAPSHOT) == f"crawl-data/{SNAPSHOT}/cc-index-table.paths.gz"
    assert index_folder(SNAPSHOT) == f"cc-index/table/cc-main/warc/crawl={SNAPSHOT}/subset=warc"
    with pytest.raises(ValueError, match="not the name"):
        index_list("../x")
