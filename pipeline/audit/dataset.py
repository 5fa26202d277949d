"""A dataset as its manifest describes it: typed, ready to be compared or searched. Reads `manifest.json` alone.

What is there may have been edited, cut short or made up by somebody else: it is checked before anybody trusts its
shape, and its paths before anybody opens them. Whether it is true is `pipeline.audit.verify`'s question.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator

from pipeline.fetching.journal import FETCH
from pipeline.flow import READ
from pipeline.ledger import measures
from pipeline.manifest import FILE
from pipeline.plan import PLAN
from pipeline.publish import ACCOUNT
from pipeline.store import Store
from stages.catalog import STAGES
from stages.stage import Meeting, Rule

PUBLIC = ("data", *ACCOUNT, FETCH)
"""The folders whose files the manifest lists."""
_ACCOUNT_PATH = re.compile(rf"({'|'.join(ACCOUNT)})/part-(\d+)\.parquet")
_FETCH_PATH = re.compile(rf"{FETCH}/(?:part-\d+\.parquet|bodies-[0-9a-f-]+\.warc\.gz)")
_DATA_PATH = re.compile(r"data/(?:[a-z_]+=[^/\0]+/)*part-\d+\.parquet")


class NotADataset(ValueError):
    """Nothing here was written by crawlmill."""


class DamagedManifest(ValueError):
    """The manifest is gone, or cannot be read as one."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class File(_Part):
    path: str
    rows: NonNegativeInt
    bytes: NonNegativeInt
    sha256: str

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if not any(form.fullmatch(path) for form in (_ACCOUNT_PATH, _DATA_PATH, _FETCH_PATH)):
            raise ValueError(f"{path!r} is no file of a dataset")
        return path

    @property
    def kind(self) -> str:
        """data, ledger, signals, dropped or fetch."""
        return self.path.partition("/")[0]

    @property
    def part(self) -> str:
        """What the ledger, signals and dropped files of one shard have in common."""
        return self.path.rpartition("/")[2]


class Input(_Part):
    path: str
    bytes: NonNegativeInt


class Counts(_Part):
    kept: NonNegativeInt
    dropped: NonNegativeInt
    failed: NonNegativeInt
    bytes_lost: NonNegativeInt
    skipped: dict[str, NonNegativeInt]


class Shard(Counts):
    path: str
    read: NonNegativeInt


class Totals(Counts):
    records_read: NonNegativeInt
    bytes_read: NonNegativeInt
    tokens: NonNegativeInt
    text_bytes: NonNegativeInt


class Drop(_Part):
    stage: str
    reason: str
    outcome: Literal["dropped", "failed"]
    count: NonNegativeInt


class Step(_Part):
    """A row of the funnel."""

    stage: str
    coming: NonNegativeInt = Field(alias="in")
    dropped: NonNegativeInt
    failed: NonNegativeInt
    out: NonNegativeInt


class Spoken(_Part):
    language: str
    measured: NonNegativeInt
    kept: NonNegativeInt


class Fetch(_Part):
    """What was fetched anew."""

    urls: NonNegativeInt
    fetched: NonNegativeInt
    kind_differs: NonNegativeInt
    bytes: NonNegativeInt
    reasons: dict[str, NonNegativeInt]


class _Output(_Part):
    dropped_text: Literal["none", "sample", "all"]


class _Job(_Part):
    output: _Output


class _Stage(_Part):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    kind: str


class _Recipe(_Part):
    stages: tuple[_Stage, ...]


class Dataset(_Part):
    """The parts of a manifest that can be checked against the files."""

    format: Literal[1]
    state: Literal["complete", "failed"]
    job: _Job
    recipe: _Recipe
    inputs: tuple[Input, ...]
    shards: tuple[Shard, ...]
    funnel: tuple[Step, ...]
    drops: tuple[Drop, ...]
    languages: tuple[Spoken, ...]
    files: tuple[File, ...]
    totals: Totals
    fetch: Fetch | None = None

    @property
    def dropped_text(self) -> str:
        """Which texts of dropped records are stored: none, sample or all."""
        return self.job.output.dropped_text

    @property
    def settings(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and fields of each stage of the recipe, in order."""
        return [(stage.kind, stage.model_dump(exclude={"kind"})) for stage in self.recipe.stages]

    @property
    def kinds(self) -> list[str]:
        """The stages that a record may leave at, in order."""
        return [READ, *(stage.kind for stage in self.recipe.stages)]

    @property
    def first_rule(self) -> int | None:
        """Where in `kinds` the first rule stands: the records that come there have signals."""
        return next(
            (at for at, kind in enumerate(self.kinds) if kind in STAGES and issubclass(STAGES[kind], Rule)), None
        )

    @property
    def first_measure(self) -> int | None:
        """Where in `kinds` the first stage stands that measures: records that come so far may have signals."""
        return next((at for at, kind in enumerate(self.kinds) if kind in STAGES and measures(STAGES[kind])), None)

    def reasons_of(self, kind: str) -> list[str]:
        """What a stage itself may drop a record for; nothing of a stage that this version does not have."""
        return list(STAGES[kind].reasons) if kind in STAGES else []

    def is_meeting(self, kind: str) -> bool:
        """Whether records of all inputs meet at a stage, and duplicates leave."""
        return kind in STAGES and issubclass(STAGES[kind], Meeting)

    def listed(self, kind: str) -> list[File]:
        """The files of a public folder, in the order of the manifest."""
        return [file for file in self.files if file.kind == kind]


def open_dataset(store: Store) -> Dataset:
    """The dataset in a folder. Raises NotADataset, DamagedManifest, and StoreError where storage refuses."""
    if not store.exists(FILE):
        if not store.exists(PLAN) and not store.list("ledger"):
            raise NotADataset(
                f"{store.root}: no manifest.json, nor anything else of crawlmill's; name the folder of a dataset"
            )
        raise DamagedManifest("missing: the run has not come to its end, or somebody removed it")
    try:
        return Dataset.model_validate_json(store.read_bytes(FILE))
    except ValidationError as error:
        fault, *more = error.errors(include_url=False)
        where = ".".join(map(str, fault["loc"]))
        said = fault["msg"].removeprefix("Value error, ")
        raise DamagedManifest(
            f"{where}: {said}".removeprefix(": ") + (f" (and {len(more)} more)" if more else "")
        ) from error
