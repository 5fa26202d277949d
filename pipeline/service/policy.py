"""What the operator of a service lets jobs reach, and whether a place is among it.

Relative paths begin at the data folder. Symbolic links are followed as far as they can be before inputs are listed;
`Storage.confirm` looks at what a pattern matched. An allowed website is trusted with its redirects. Whether another job
writes to the same output is for the database to know (`pipeline.service.locations.overlap`). Which fields of a job name
places is the business of `pipeline.service.placing`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator

from pipeline.service.locations import DISK, MAGIC, WEB, Location, locate, on_disk
from pipeline.spec import JobError
from stages.read.commoncrawl import SITE

BLOCKS = tuple(
    f"datatrove.pipeline.{name}"
    for name in (
        "filters.c4_filters.C4QualityFilter",
        "filters.c4_filters.C4ParagraphFilter",
        "filters.fineweb_quality_filter.FineWebQualityFilter",
        "filters.gopher_quality_filter.GopherQualityFilter",
        "filters.gopher_repetition_filter.GopherRepetitionFilter",
        "formatters.ftfy.FTFYFormatter",
        "formatters.pii.PIIFormatter",
        "formatters.symbol_lines_remover.SymbolLinesFormatter",
    )
)
"""Blocks of datatrove whose arguments are numbers and words. The others take a model's URL, a regular expression (which
may never end), a function, or fetch lists.
"""
SHOWN = 200
"""Characters of a place in an error."""


def _prefix(place: str) -> str:
    if MAGIC.search(place):
        raise ValueError(f"{place}: holds * ? or [, which would be read as a pattern")
    try:
        return str(locate(place))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


Prefix = Annotated[str, AfterValidator(_prefix)]
"""An absolute path, or a URL with bucket or host: it, and everything below it."""


class StoragePolicy(BaseModel):
    """The operator's setting `storage`: what jobs may reach beside the data folder, which they may read and write."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read: tuple[Prefix, ...] = (SITE,)
    write: tuple[Prefix, ...] = ()
    """What may be written may be read."""
    endpoints: tuple[Prefix, ...] = ()
    """Of OCR by vision models."""
    key_variables: tuple[str, ...] = ()
    """Environment variables of workers that may be sent to an endpoint as its key."""
    hosts: tuple[str, ...] = ()
    """`host:port` that refetching may ask though its address is private, written as jobs write it."""
    hub: bool = False
    """Whether a tokenizer may be named as the Hugging Face hub names it."""
    blocks: tuple[str, ...] = BLOCKS
    """Classes that the stage `datatrove` may run, by dotted path. Importing one runs its module."""

    @field_validator("write")
    @classmethod
    def _written(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        for place in places:
            if locate(place).scheme in WEB:
                raise ValueError(f"{place}: nothing can be written there; name a folder or a bucket")
        return places


@dataclass(frozen=True)
class Storage:
    """The data folder and the policy. Raises ValueError for a data folder that patterns could not name."""

    data: Path
    policy: StoragePolicy = field(default_factory=StoragePolicy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", Path(os.path.abspath(self.data)))
        _prefix(str(self.data))

    def reading(self, place: str, where: str, pattern: bool = False) -> str:
        """The place as the job is to have it. Raises JobError, which begins with `where`."""
        return self._allowed(place, where, self._readable, pattern)

    def writing(self, place: str, where: str) -> str:
        """The same, of a folder that is written to: below what may be written, and over nothing of it.

        However it is spelled, with a slash at its end or without, it comes out as one: jobs are told apart by it.
        """
        at = locate(self._allowed(place, where, self._writable, False))
        if MAGIC.search(place):
            raise self._refusal(place, where, "holds * ? or [, of which patterns are made", self._writable)
        if any(root.below(each) for each in (at, at.real) for root in (*self._readable, *self._real)):
            raise self._refusal(place, where, "holds more than one job's folder", self._writable)
        return str(at)

    def confirm(self, paths: Iterable[str]) -> None:
        """Look at inputs on disk that patterns matched. Raises JobError for a symbolic link out of what may be read."""
        roots = self._real
        for path in paths:
            if "://" not in path and not any(on_disk(Path(path)).real.below(root) for root in roots):
                raise JobError(f"job: source: {path!r}: a link to where jobs may not read; name a file that is none")

    @cached_property
    def _data(self) -> Location:
        return on_disk(self.data)

    @cached_property
    def _writable(self) -> tuple[Location, ...]:
        return (self._data, *map(locate, self.policy.write))

    @cached_property
    def _readable(self) -> tuple[Location, ...]:
        return (*self._writable, *map(locate, self.policy.read))

    @property
    def _real(self) -> tuple[Location, ...]:
        return tuple(root.real for root in self._readable)

    def _allowed(self, place: str, where: str, roots: Sequence[Location], pattern: bool) -> str:
        try:
            at = locate(place, self._data)
        except ValueError as error:
            raise self._refusal(place, where, str(error), roots) from error
        root = max((root for root in roots if at.below(root)), key=lambda root: len(root.parts), default=None)
        if root is None:
            raise self._refusal(place, where, "not among what jobs may name here", roots)
        if at.scheme not in WEB and any(part.startswith(".") for part in at.parts[len(root.parts) :]):
            raise self._refusal(place, where, "names with a dot in front are the runs' own", roots)
        if at.scheme != DISK:
            return place
        real = (at.fixed if pattern else at).real
        if not any(real.below(root.real) for root in roots):
            raise self._refusal(place, where, "a link to where jobs may not go", roots)
        return str(at)

    def _refusal(self, place: str, where: str, why: str, roots: Sequence[Location]) -> JobError:
        others = ", ".join(str(root) for root in roots if root != self._data)
        instead = "; write a path below the service's data folder, as in crawls/first"
        return JobError(f"job: {where}: {place[:SHOWN]!a}: {why}{instead}{', or one below ' if others else ''}{others}")
