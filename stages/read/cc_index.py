"""Common Crawl's columnar index: where it lies, and which of its rows a condition in SQL takes.

The index (https://commoncrawl.org/columnar-index; columns in commoncrawl/cc-index-table, cc-index-schema-flat.json) is
Parquet, one row for each capture. It is read a row group at a time, of each only the columns that are needed, and
nothing of a row group whose statistics rule it out. The SQL sees the index and nothing else: no file, no network, no
other table; what it may be made of is `stages.read.condition`'s to say, and its processor time is limited. Listing and
fetching are others' business, as is what to make of a row.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from stages.read.commoncrawl import paths_list
from stages.read.condition import MAX_DEPTH, WrongCondition, check

SUBSET = "warc"
"""Successful captures; the other subsets hold redirects, errors and robots.txt."""
ROWS = pa.schema([("file", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])
"""What is taken of a row: the WARC file's path below the crawl's base, offset and length of the record in it."""

HOLE = 2**20
"""Bytes between needed columns that are read along rather than asked around: a request is one of two a second."""
STRETCH = 64 * 2**20
"""Bytes that one request for columns may have."""
MAX_GROUP_ROWS = 16 * 2**20
"""Of an index' row group, which is unpacked whole: run lengths may make any number of rows out of a few bytes."""
MEMORY = "512MB"
EVALUATION_SECONDS = 60.0
"""Of processor time for one row group: 250 regular expressions on each of 20,000 URLs took 1.5 s."""

_TAKEN = ("warc_filename", "warc_record_offset", "warc_record_length")
_UNKNOWN_COLUMN = re.compile(r'Referenced column "([^"]*)" not found')
_AGAIN_SECONDS = 0.05
_KIND = re.compile(r"^[A-Z][A-Za-z ]* Error: ")
_SETTINGS = (
    "SET python_enable_replacements = false",  # else a name in the SQL could be a variable of this program
    "SET enable_external_access = false",
    "SET TimeZone = 'UTC'",
    f"SET max_expression_depth = {MAX_DEPTH}",
    "SET lock_configuration = true",
)


class NotAnIndex(ValueError):
    """A file that is no part of an index, or a damaged one: one line to put behind its name."""


def index_list(snapshot: str) -> str:
    """Where the list of a snapshot's index files, of all subsets, lies below a base. Raises ValueError."""
    return paths_list(snapshot).replace("warc.paths.gz", "cc-index-table.paths.gz")


def index_folder(snapshot: str) -> str:
    """Where the index files themselves lie."""
    return f"cc-index/table/cc-main/warc/crawl={snapshot}/subset={SUBSET}"


class IndexQuery:
    """A condition on the rows of a snapshot's index. Raises WrongCondition for one that no index could answer.

    seconds: of processor time that it may take for one row group.
    """

    def __init__(self, where: str, snapshot: str, seconds: float = EVALUATION_SECONDS) -> None:
        self._where = f"(\n{where}\n)"  # on lines of its own, a comment at its end hides nothing of ours
        self._snapshot, self._seconds = snapshot, seconds
        self._database = duckdb.connect(
            ":memory:",
            config={
                "threads": "1",
                "memory_limit": MEMORY,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
            },
        )
        for setting in _SETTINGS:
            self._database.execute(setting)
        check(self._where, self._database)

    def rows(self, index: BinaryIO) -> Iterator[pa.Table]:
        """The rows (ROWS) that the condition takes of one Parquet file, in its order, a table for each row group; null
        where an offset or a length is no whole number. Raises WrongCondition, NotAnIndex, and what `index` raises.
        """
        options = ds.ParquetFragmentScanOptions(
            pre_buffer=True, cache_options=pa.CacheOptions(hole_size_limit=HOLE, range_size_limit=STRETCH)
        )
        parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
        try:
            fragment = parquet.make_fragment(index)
            groups, schema = fragment.row_groups, fragment.physical_schema
        except pa.ArrowException as error:
            raise NotAnIndex(f"not a Parquet file: {_one_line(error)}") from error
        for name in _TAKEN:
            if name not in schema.names:
                raise NotAnIndex(f"no index of Common Crawl: it has no column {name}")
        for group in groups:
            if group.num_rows > MAX_GROUP_ROWS:
                raise NotAnIndex(f"row group {group.id} has {group.num_rows} rows, more than {MAX_GROUP_ROWS}")
            part = fragment.subset(row_group_ids=[group.id])
            yield self._taken(ds.FileSystemDataset([part], schema, parquet))

    def close(self) -> None:
        self._database.close()

    def _taken(self, group: ds.Dataset) -> pa.Table:
        # Of the table's columns two are the names of its folders.
        folders = {"crawl": self._snapshot.replace("'", "''"), "subset": SUBSET}
        added = ["*", *(f"'{value}' AS {name}" for name, value in folders.items() if name not in group.schema.names)]
        file, offset, length = _TAKEN
        taken = f"CAST({file} AS VARCHAR), TRY_CAST({offset} AS BIGINT), TRY_CAST({length} AS BIGINT)"
        self._database.register("index", group)
        try:
            with _Limit(self._database, self._seconds):
                found = self._database.table("index").project(", ".join(added)).filter(self._where).project(taken)
                table = found.to_arrow_table()
            return table.rename_columns(ROWS.names).cast(ROWS)
        except _TooLong as error:
            said = f"takes more than {self._seconds:g} s of processor time for the rows of one row group"
            raise WrongCondition(f"{said}; write a simpler one") from error
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            known = (*group.schema.names, *(name for name in folders if name not in group.schema.names))
            unknown = _UNKNOWN_COLUMN.search(str(error))
            raise WrongCondition(_one_line(error), unknown[1] if unknown else None, known) from error
        except (duckdb.InvalidInputException, pa.ArrowException) as error:  # of the reader, not of the condition
            raise NotAnIndex(f"damaged: {_one_line(error)}") from error
        except (duckdb.DataError, duckdb.OperationalError, duckdb.NotSupportedError) as error:
            raise WrongCondition(_one_line(error)) from error


class _TooLong(Exception):
    """More processor time was used than a limit gave."""


class _Limit:
    """Interrupts a database once the thread that entered has used so many seconds of processor time, and raises
    _TooLong when it has, also where no interrupt came in time. With one thread DuckDB computes in its caller's; waiting
    for storage uses none.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, seconds: float) -> None:
        self._database, self._seconds, self._left = database, seconds, threading.Event()

    def __enter__(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._end = time.clock_gettime(self._clock) + self._seconds
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._watcher.join()
        ended = kind is None or issubclass(kind, duckdb.InterruptException)
        if ended and time.clock_gettime(self._clock) > self._end:
            raise _TooLong from error

    def _watch(self) -> None:
        while (rest := self._end - time.clock_gettime(self._clock)) > 0:
            if self._left.wait(rest):  # a thread uses no more than time passes
                return
        self._database.interrupt()
        while not self._left.wait(_AGAIN_SECONDS):  # one that comes before the query has begun is forgotten
            self._database.interrupt()


def _one_line(error: object) -> str:
    """An error without its kind, and without the picture of the place that DuckDB draws below it."""
    return _KIND.sub("", " ".join(str(error).split("\n\n")[0].split()))[:300]
