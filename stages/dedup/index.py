"""What an index across snapshots holds: settings, two tables, and the numbers by which it knows records.

`bands` leads from a band key to the representatives that have it, `representatives` from a number to what must be known
of the record. Representatives are kept records of snapshots that were done. Where the files lie, and how an index
grows, is `pipeline.index`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from stages.dedup.clusters import REPRESENTATIVE
from stages.dedup.signature import VERSION

Numbers = npt.NDArray[np.uint64]

PARTITIONS = 256
"""A snapshot of 150 million records of 14 bands then has files of about 8 million rows, and 0.6 million records."""
FIRST = int(REPRESENTATIVE)
"""The least number of a representative; a job's own documents have smaller ones."""
PLACES = "index"
"""Seed for the hash of a record's place, which is its input's sha256, offset and ordinal. All indexes hang on it."""


class Settings(BaseModel):
    """What all extensions of an index have in common; fields but `partitions` decide which hashes can meet."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ngram: PositiveInt
    bands: Annotated[int, Field(ge=1, le=256)]
    rows: Annotated[int, Field(ge=1, le=256)]
    hashing: PositiveInt = VERSION
    partitions: Annotated[int, Field(ge=1, le=4096)] = PARTITIONS

    @field_validator("partitions")
    @classmethod
    def _halves(cls, count: int) -> int:
        if count & (count - 1):
            raise ValueError("a power of two, or partitions were not equal")
        return count

    def differing(self, other: Settings) -> tuple[str, ...]:
        """Names of the fields, `partitions` apart, for which hashes of the two cannot be compared."""
        names = [name for name in type(self).model_fields if name != "partitions"]
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True)
class Layout:
    """How one table lies in files: rows sorted by `order`, whose first column cuts its span into equal partitions."""

    name: str
    order: tuple[str, ...]
    """Columns of uint64."""
    start: int
    """The first column is from here to 2**64, and uniform."""
    group_rows: int
    """Most rows of a row group: what a reader holds."""

    def bounds(self, partition: int, partitions: int) -> tuple[int, int]:
        """Least value of a partition, and of the next one."""
        width = self._width(partitions)
        return self.start + partition * width, self.start + (partition + 1) * width

    def partition(self, values: Numbers, partitions: int) -> npt.NDArray[np.int64]:
        """The partition of each value, [rows]; values are `start` or more, `partitions` a power of two."""
        shift = self._width(partitions).bit_length() - 1
        if shift == 64:
            return np.zeros(len(values), np.int64)
        return ((values - np.uint64(self.start)) >> np.uint64(shift)).astype(np.int64)

    def _width(self, partitions: int) -> int:
        return (2**64 - self.start) // partitions


BANDS = Layout("bands", ("band_key", "representative"), 0, 2**18)
REPRESENTATIVES = Layout("representatives", ("representative",), FIRST, 2**13)
LAYOUTS = (BANDS, REPRESENTATIVES)


def schema(layout: Layout, settings: Settings) -> pa.Schema:
    """The columns of a table."""
    if layout == BANDS:
        return pa.schema([pa.field("band_key", pa.uint64()), pa.field("representative", pa.uint64())])
    return pa.schema(
        [
            pa.field("representative", pa.uint64()),
            pa.field("id", pa.string()),
            pa.field("snapshot", pa.string()),
            pa.field("url", pa.string()),
            pa.field("input", pa.uint64()),  # what its input's sha256 begins with
            pa.field("shingles", pa.int64()),
            pa.field("digest", pa.uint64()),  # of the normalised words
            pa.field("signature", pa.binary(8 * settings.bands * settings.rows)),  # little-endian uint64s
        ]
    )


def record_numbers(places: Numbers) -> Numbers:
    """Numbers of representatives from 64-bit hashes of their places: the same record has the same in every job.

    63 bits: of 150 million records two share a number with probability 0.001, of 15 billion about 12 pairs do (birthday
    bound), so a number may have several rows, and whoever looks one up compares signatures.
    """
    return np.uint64(FIRST) | (places >> np.uint64(1))


def disorder(table: pa.Table, layout: Layout, low: int, high: int, after: tuple[int, ...] | None = None) -> str | None:
    """What is wrong with rows that should be sorted, from `low` to below `high`, and not before the row `after`.

    None where all is well, else a few words.
    """
    if any(column.null_count for column in (table.column(name) for name in layout.order)):
        return f"a row without {' or '.join(layout.order)}"
    if not table.num_rows:
        return None
    columns = [table.column(name).to_numpy() for name in layout.order]
    if not low <= int(columns[0].min()) <= int(columns[0].max()) < high:
        return f"a {layout.order[0]} of another partition"
    first = tuple(int(column[0]) for column in columns)
    if (after is not None and first < after) or _falls(columns).any():
        return f"rows out of the order of {', '.join(layout.order)}"
    return None


def last_row(table: pa.Table, layout: Layout) -> tuple[int, ...]:
    """The `order` columns of the last row, for the next call of `disorder`. The table has rows."""
    return tuple(table.column(name)[-1].as_py() for name in layout.order)


def _falls(columns: list[Numbers]) -> npt.NDArray[np.bool_]:
    """[rows - 1] Is a row less than the one before it, by the first column in which they differ?"""
    falls = np.zeros(len(columns[0]) - 1, bool)
    for column in reversed(columns):
        falls = (column[1:] < column[:-1]) | ((column[1:] == column[:-1]) & falls)
    return falls
