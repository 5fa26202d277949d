"""A snapshot's columnar index in storage: the files it consists of, and what a query takes of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

import pyarrow as pa

from pipeline.budget import Budget
from pipeline.faults import InputError, StoreError
from pipeline.http import HTTP, fetch_bytes
from pipeline.patience import TERMS, Terms
from pipeline.ranges import SeekableParts, open_parts
from pipeline.spec import CommonCrawlSource
from pipeline.store import Store
from stages.read.cc_index import ROWS, IndexQuery, NotAnIndex, index_folder, index_list
from stages.read.commoncrawl import MAX_PACKED, parse_paths, parse_slice


def index_files(source: CommonCrawlSource, budget: Budget, terms: Terms = TERMS) -> list[str]:
    """Where the files of a snapshot's index lie, in order, as far as `files` takes them. Raises InputError.

    They are those of the published list. A mirror without one is looked through.
    """
    base = source.base.rstrip("/") + "/"
    try:
        wanted = parse_slice(source.files) if source.files is not None else slice(None)
    except ValueError as error:
        raise InputError(f"source.files: {error}") from error
    try:
        folder, listed = index_folder(source.snapshot) + "/", index_list(source.snapshot)
        if base.startswith(HTTP):
            paths = parse_paths(fetch_bytes(base + listed, budget, MAX_PACKED, terms))
        else:
            mirror = Store(base)
            paths = parse_paths(_small(mirror, listed)) if mirror.exists(listed) else mirror.list(folder.rstrip("/"))
    except (ValueError, StoreError) as error:
        names = "names are at https://index.commoncrawl.org/collinfo.json"
        raise InputError(f"source.snapshot {source.snapshot}: {error} ({names})") from error
    found = sorted(path for path in paths if path.startswith(folder) and path.endswith(".parquet"))
    if not found:
        raise InputError(f"source.index: {base}{folder}: no index of {source.snapshot} there")
    if not found[wanted]:
        raise InputError(f"source.files: {source.files} takes none of the {len(found)} index files")
    return [base + path for path in found[wanted]]


def rows_of(place: str, query: IndexQuery, budget: Budget, terms: Terms) -> Iterator[tuple[pa.Table, int]]:
    """The rows that a query takes of one index file, and how many bytes were read for it so far.

    Raises InputError, WrongCondition.
    """
    with SeekableParts(open_parts(place, budget, terms)) as index:
        yield ROWS.empty_table(), index.bytes_read
        try:
            for rows in query.rows(cast(BinaryIO, index)):
                yield rows, index.bytes_read
        except NotAnIndex as error:
            raise (index.fault or InputError(f"{place}: {error}")) from error


def _small(store: Store, path: str) -> bytes:
    with store.open_read(path) as stream:
        return stream.read(MAX_PACKED + 1)
