"""The index across snapshots on storage: numbered versions, each of which lists all extensions so far.

    INDEX/versions/000001.json                                        never changes once it is there
    INDEX/extensions/NAME/bands/part-00000-TOKEN.parquet              one partition of one table
    INDEX/extensions/NAME/representatives/part-00000-TOKEN.parquet

Files are whole before a version lists them, and what no version lists is invisible. A version's file is created, never
replaced (`Store.create`), so jobs may extend at once: who comes second builds on the version of who came first. What
the tables hold is in `stages.dedup.index`, how they are written and read in `pipeline.index_tables`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.faults import MissingFile
from pipeline.index_tables import FOLDER, PATTERN, DamagedIndex, File, OtherIndex, folder_of, read_partition
from pipeline.keys import record_keys
from pipeline.store import Store
from stages.dedup.index import BANDS, LAYOUTS, PLACES, REPRESENTATIVES, Layout, Numbers, Settings, record_numbers

FORMAT: Final = 1
"""Of a version's file, and of the files that it lists."""
VERSIONS = "versions"
MAX_BYTES = 2**28
"""Of a version's file, so that none fills memory. An extension of 512 files takes 200 kB."""
_VERSION = re.compile(r"versions/([0-9]{6,9})\.json")
_OURS = re.compile(rf"{PATTERN}|^versions/\.[0-9]+\.json\.[0-9a-f]{{16}}\.partial$")
_REMEDY = "put it back from a copy, or begin another index"


class Extension(BaseModel):
    """What one job added. A partition without rows has no file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,128}$")]
    """Digest of all that the rows follow from: what is listed under a name is never added again."""
    snapshot: str
    bands: tuple[File, ...]
    representatives: tuple[File, ...]

    def files(self, layout: Layout) -> tuple[File, ...]:
        """Those of one table, by partition."""
        return self.bands if layout == BANDS else self.representatives

    @property
    def paths(self) -> set[str]:
        """Of all its files."""
        return {file.path for layout in LAYOUTS for file in self.files(layout)}


class _Content(BaseModel):
    """A version's file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1]
    number: int
    settings: Settings
    extensions: tuple[Extension, ...]

    @model_validator(mode="after")
    def _all_in_place(self) -> _Content:
        if len({extension.name for extension in self.extensions}) < len(self.extensions):
            raise ValueError("an extension is listed twice")
        for extension in self.extensions:
            for layout in LAYOUTS:
                self._check(extension.files(layout), folder_of(extension.name, layout))
        return self

    def _check(self, files: tuple[File, ...], folder: str) -> None:
        numbers = [file.partition for file in files]
        if numbers != sorted(set(numbers)) or (numbers and numbers[-1] >= self.settings.partitions):
            raise ValueError(f"{folder}: partitions out of order or out of range")
        if not all(file.path.startswith(f"{folder}/part-{file.partition:05d}-") for file in files):
            raise ValueError(f"{folder}: lists a file from elsewhere")


class _Head(BaseModel):
    """What a version's file has in every format."""

    format: Annotated[int, Field(strict=True)]


@dataclass(frozen=True)
class Version:
    """One state of an index. Its number and the sha256 of its file, kept by a job, pin what the job reads."""

    number: int
    sha256: str
    settings: Settings
    extensions: tuple[Extension, ...]

    def rows(self, table: Literal["bands", "representatives"]) -> int:
        """Of one table, in all extensions."""
        return sum(file.rows for extension in self.extensions for file in getattr(extension, table))


@dataclass(frozen=True)
class Index:
    """An index in a folder, which need not be there yet.

    Methods raise DamagedIndex and OtherIndex as they say, and StoreError where storage fails.
    """

    root: str
    """A local path, or an fsspec URL."""

    @property
    def store(self) -> Store:
        """Its folder."""
        return Store(self.root)

    def latest(self, wanted: Settings | None = None) -> Version | None:
        """The newest version, None where there is none. Raises as `version` does: a damaged one is not passed over."""
        numbers = self._numbers()
        return self.version(max(numbers), wanted) if numbers else None

    def version(self, number: int, wanted: Settings | None = None, sha256: str | None = None) -> Version:
        """One version.

        Raises DamagedIndex where it is gone, cannot be read, or has another digest than the `sha256` pinned; OtherIndex
        where its format is unknown, or where hashes made with the settings `wanted` cannot be compared with its own.
        """
        path = f"{self.root}/{_path(number)}"
        try:
            if self.store.size(_path(number)) > MAX_BYTES:
                raise DamagedIndex(f"{path}: damaged: more than {MAX_BYTES} bytes; {_REMEDY}")
            data = self.store.read_bytes(_path(number))
        except MissingFile as error:
            raise DamagedIndex(f"{error}; {_REMEDY}") from error
        version = _parse(path, number, data)
        if sha256 not in (None, version.sha256):
            raise DamagedIndex(f"{path}: not the version that was pinned; put that back, or run the job anew")
        if wanted is not None:
            self._need(version, wanted, version.settings.differing(wanted))
        return version

    def bands(self, version: Version, low: int = 0, high: int = 2**64) -> Iterator[pa.Table]:
        """Rows of BANDS with low <= band_key < high, at most a row group at a time. Raises as `read_partition` does.

        Files come by partition, those of one partition by extension; rows are sorted within a file alone. A record that
        two jobs added comes twice.
        """
        return self._rows(BANDS, version, low, high)

    def representatives(self, version: Version, low: int = 0, high: int = 2**64) -> Iterator[pa.Table]:
        """Rows of REPRESENTATIVES with low <= representative < high, otherwise as `bands`."""
        return self._rows(REPRESENTATIVES, version, low, high)

    def extend(self, extension: Extension, settings: Settings) -> Version:
        """List one more extension, whose files are written; returns a version that lists one of its name.

        If that is somebody else's, or an earlier attempt's, it stays as it is and the files given now are removed.
        Raises OtherIndex where the index has other settings, DamagedIndex where a file is gone or the newest version
        cannot be read, and StoreError also where storage cannot create a file exclusively.
        """
        gone = extension.paths.difference(self.store.list(f"{FOLDER}/{extension.name}"))
        newest = self.latest()
        while True:
            if newest is not None:
                apart = ("partitions",) if newest.settings.partitions != settings.partitions else ()
                self._need(newest, settings, (*newest.settings.differing(settings), *apart))
                listed = {each.name: each for each in newest.extensions}.get(extension.name)
                if listed is not None:
                    for path in sorted(extension.paths - listed.paths):
                        self.store.remove(path)
                    return newest
            if gone:
                raise DamagedIndex(f"{self.root}/{min(gone)}: gone before a version listed it; run the job again")
            number, before = (newest.number + 1, newest.extensions) if newest else (1, ())
            content = _Content(format=FORMAT, number=number, settings=settings, extensions=(*before, extension))
            data = content.model_dump_json(indent=1).encode()
            if self.store.create(_path(number), data):
                return _parse(_path(number), number, data)
            newest = self.version(number)

    def try_out(self) -> None:
        """Raises StoreError where the index cannot be extended, before anybody works for it."""
        trial = f"{VERSIONS}/.trial.{secrets.token_hex(8)}"
        self.store.create(trial, b"")
        self.store.remove(trial)

    def garbage(self) -> list[str]:
        """Files of ours that no version lists, sorted: those of dead jobs, and of jobs that are at work.

        Raises DamagedIndex or OtherIndex where a version cannot be read: what it lists is unknown then.
        """
        there = [*self.store.list(FOLDER), *self.store.partials(VERSIONS)]
        # Versions come after the files: what is listed meanwhile is no garbage.
        versions = [self.version(number) for number in self._numbers()]
        listed = {path for version in versions for extension in version.extensions for path in extension.paths}
        return sorted(path for path in there if _OURS.search(path) and path not in listed)

    def _numbers(self) -> list[int]:
        found = (_VERSION.fullmatch(path) for path in self.store.list(VERSIONS))
        return [int(match[1]) for match in found if match and match[0] == _path(int(match[1]))]

    def _rows(self, layout: Layout, version: Version, low: int, high: int) -> Iterator[pa.Table]:
        files = [file for extension in version.extensions for file in extension.files(layout)]
        for file in sorted(files, key=lambda file: file.partition):
            first, end = layout.bounds(file.partition, version.settings.partitions)
            if first < high and low < end:
                yield from read_partition(self.store, file, layout, version.settings, low, high)

    def _need(self, version: Version, wanted: Settings, differing: tuple[str, ...]) -> None:
        """Raises OtherIndex for the settings named."""
        if not differing:
            return
        have, want = (
            ", ".join(f"{name} {getattr(settings, name)}" for name in differing)
            for settings in (version.settings, wanted)
        )
        remedy = (
            "use the release of crawlmill that made it, or begin another index"
            if "hashing" in differing
            else "give the job the settings of the index, or name another index"
        )
        raise OtherIndex(f"{self.root}: was made with {have}, and the job has {want}; {remedy}")


def numbers_of(batch: pa.RecordBatch, sha256: str) -> Numbers:
    """[rows] The numbers by which an index knows records at (offset, ordinal) of the input with this digest: the same
    wherever that lies, and others for what lies there later.
    """
    names = ("offset", "ordinal")
    inputs = pa.array([sha256] * batch.num_rows, pa.string())
    columns = [inputs, *(batch.column(name) for name in names)]
    return record_numbers(record_keys(pa.RecordBatch.from_arrays(columns, ["shard", *names]), PLACES))


def input_number(sha256: str) -> int:
    """The column `input` of records from the input with this digest, in hex."""
    return int(sha256[:16], 16)


def _path(number: int) -> str:
    return f"{VERSIONS}/{number:06d}.json"


def _parse(place: str, number: int, data: bytes) -> Version:
    try:
        known = _Head.model_validate_json(data).format
        if known != FORMAT:
            raise OtherIndex(f"{place}: has format {known}, and this crawlmill reads {FORMAT}; use one that knows it")
        content = _Content.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        said = f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        raise DamagedIndex(f"{place}: damaged: {said}; {_REMEDY}") from error
    if content.number != number:
        raise DamagedIndex(f"{place}: damaged: says that it is version {content.number}; {_REMEDY}")
    return Version(number, hashlib.sha256(data).hexdigest(), content.settings, content.extensions)
