"""What a stage is: the record schema, the four kinds of stage, and what they answer.

A stage never counts, logs or touches storage. Its pydantic fields are its YAML. A filter answers keep or (drop,
reason); an editor never drops. The loop that calls stages lives in `pipeline.shard`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, PositiveInt

from stages.decision import Decision, Signals, Words

if TYPE_CHECKING:
    from stages.text.texts import Texts

RECORD = pa.schema(
    [
        pa.field("id", pa.string()),  # WARC-Record-ID word for word, or derived from position
        pa.field("url", pa.string()),
        pa.field("date", pa.string()),  # ISO 8601, as the source wrote it
        pa.field("dump", pa.string()),  # crawl snapshot
        pa.field("shard", pa.string()),  # the input file, as listed by the plan
        pa.field("offset", pa.int64()),  # of the gzip member, or of the row group
        pa.field("ordinal", pa.int32()),  # within that member or row group
        pa.field("media", pa.string()),  # html | pdf | text | other
        pa.field("mime", pa.string()),  # the type that decided `media`
        pa.field("status", pa.int32()),  # HTTP status, null where there is none
        pa.field("charset", pa.string()),  # declared by the transport, null where it was silent
        pa.field("payload", pa.large_binary()),  # content-decoded body, null once extracted
        pa.field("truncated", pa.string()),  # why a PDF's payload is not all of it, else null
        pa.field("text", pa.large_string()),
        pa.field("language", pa.string()),  # eng_Latn
        pa.field("language_score", pa.float64()),
        pa.field("token_count", pa.int64()),
        pa.field("minhash_cluster_size", pa.int64()),  # itself and its duplicates; null unless it met others by minhash
        pa.field("page_ends", pa.list_(pa.int64())),  # of a PDF: characters of `text` up to the end of each page
        pa.field("per_page_languages", pa.list_(pa.string())),
        pa.field("extractor", pa.string()),  # that made a PDF's text: fast | model | ocr, several joined by +
    ]
)
"""One row for each record. (shard, offset, ordinal) is the key; `id` may repeat."""

VERDICT = pa.schema(
    [
        pa.field("reason", pa.string()),
        pa.field("value", pa.float64()),  # what was measured; null where the judgement is no number
        pa.field("threshold", pa.float64()),
        pa.field("detail", pa.string()),  # what was found, in words: a domain, a label, an error
    ]
)
"""Columns that a row gains when it leaves."""

DEPARTED = pa.schema([*RECORD, *VERDICT])


class Asset:
    """Marks a field that names a file outside the code (model, word list): a path, a URL or `builtin:NAME`.

    The planner replaces it by a local path and pins the file's digest.
    """


AssetPath = Annotated[str, Asset()]


@dataclass(frozen=True, slots=True)
class Reaches:
    """Marks a field of text (or several) by what it names of the world outside, beside assets: whoever runs jobs of
    others allows it or not. A place is a path or URL of a folder.
    """

    what: Literal["place read", "place written", "endpoint", "host", "variable", "code"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one record may cost before its process is killed."""

    cpu_seconds: int
    memory_bytes: int
    silence_seconds: int
    """Without using the processor: then it hangs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage made of a batch: `kept` has RECORD's columns; `dropped` and `failed` have DEPARTED's."""

    kept: pa.RecordBatch
    dropped: pa.RecordBatch
    failed: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of one record. columns: others of RECORD that came to light; signals: what was measured on the way, of
    the stage's `signals` type.
    """

    text: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    signals: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one record has no text: a judgement of the record, not a fault of processing."""

    reason: str
    value: float | None = None
    threshold: float | None = None
    detail: str | None = None
    signals: Mapping[str, Any] | None = None


class Stage(BaseModel):
    """Base of all stages. `only` limits a stage to records of one media; others pass it by untouched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    only: Literal["html", "pdf"] | None = None
    reasons: ClassVar[tuple[str, ...]] = ()
    """Every reason this stage may give."""
    needs_text: ClassVar[bool] = True
    """False where it looks at the record's other columns alone: such stages at the head of a recipe come before
    extraction.
    """
    requires: ClassVar[tuple[str, ...]] = ()
    """Importable modules that this stage needs, from the extra `extra`."""
    extra: ClassVar[str] = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules of `requires` that are not installed."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)

    def locate(self, asset: str) -> Path:
        """The local file of an asset's value; stages that ship files resolve `builtin:NAME`."""
        return Path(asset)

    def load(self) -> None:
        """Load models and lists, raising ValueError or OSError with a clear message where they cannot be used.

        The planner calls it before any work, a worker before its first batch.
        """


class BatchStage(Stage):
    """A stage that looks at records one batch at a time, without their words."""

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Batch with RECORD's columns in, every row of it out, in order."""
        raise NotImplementedError


class IsolatedStage(Stage):
    """A stage that hands hostile bytes to native code: it runs where it can be killed, one record at a time."""

    cpu_seconds: PositiveInt = 10
    memory_mb: PositiveInt = 1024
    handles: ClassVar[tuple[str, ...]] = ()
    """The media whose payloads it reads."""
    signals: ClassVar[pa.DataType | None] = None
    """Of what it measures: stored as one struct column named after the stage, null for records that failed."""

    silence_seconds: ClassVar[int] = 120

    @staticmethod
    def limit_cpu(seconds: float) -> None:
        """Have the process that runs `process` killed when it uses so many seconds of processor time from here on: for
        what may hang on a part of a record that has many. The cage puts it in place; elsewhere nothing happens.
        """

    @property
    def limits(self) -> Limits:
        return Limits(self.cpu_seconds, self.memory_mb * 2**20, self.silence_seconds)

    def prepare(self) -> None:
        """Import what `process` needs; called in the process that runs it, before the limits hold."""

    def accepts(self, record: Mapping[str, Any]) -> Refusal | None:
        """None where `process` should see this record; a refusal where it need not. Runs outside the cage.

        What a server sent with an error is a page about the error.
        """
        status = record["status"]
        if status is not None and not 200 <= status < 300:
            return Refusal("http_error_status", value=status, threshold=299)
        return None

    def process(self, payload: bytes, record: Mapping[str, Any]) -> Extracted | Refusal:
        """The text of one record (`record` holds RECORD's small columns), or why there is none."""
        raise NotImplementedError


S = TypeVar("S", bound=Signals)


class Rule(Stage, Generic[S]):
    """A stage that measures texts and judges the measures, so that thresholds can change without the texts.

    The three steps come in the order edit, measure, decide, for all texts that reach the rules, also those an earlier
    rule drops.
    """

    Measures: ClassVar[type[Signals]]
    """The dataclass of arrays that `measure` returns; stored as one struct column named after the stage."""

    def edit(self, texts: Texts) -> Texts:
        """The texts that are measured here, and that later stages see."""
        return texts

    def measure(self, texts: Texts) -> S:
        """The numbers that `decide` looks at, one row for each text."""
        raise NotImplementedError

    def decide(self, signals: S, languages: Words) -> Decision:
        """Which rows fail, why, and by how much: arithmetic on signals alone. `languages` has each row's `eng_Latn`."""
        raise NotImplementedError


Preference = Literal["first", "longest", "newest"]
"""Which of several records stays: the first in the order of inputs, the one with the longest text, or the latest date;
ties go to the first.
"""


class Meeting(Stage):
    """A stage whose decision needs the records of other shards (`pipeline.meeting`): the recipe is cut here."""

    prefer: Preference = "first"
    counts_clusters: ClassVar[bool] = False
    """Whether what stays is told how many it stands for, in `minhash_cluster_size`."""

    @property
    def least_similarity(self) -> float | None:
        """The threshold of its verdicts, where it has one."""
        return None

    @property
    def emits(self) -> pa.Schema:
        """The columns of `emit`."""
        raise NotImplementedError

    def emit(self, texts: Texts) -> pa.RecordBatch:
        """What the others must know of these records: one row each, in order. `text` may be null where `needs_text` is
        False.
        """
        raise NotImplementedError


def split(batch: pa.RecordBatch, decision: Decision) -> Outcome:
    """Part a batch by a decision: rows that fail are dropped with the reason, value and threshold that failed them."""
    fails = decision.fails
    kept = batch.filter(pa.array(~fails))
    return Outcome(kept, depart(batch, decision), nobody(DEPARTED))


def depart(batch: pa.RecordBatch, decision: Decision) -> pa.RecordBatch:
    """The rows of `batch` that fail, with their verdict columns."""
    rows = np.flatnonzero(decision.fails)
    leaving = batch.take(pa.array(rows))
    return pa.RecordBatch.from_arrays([*leaving.columns, *decision.take(rows).to_arrow()], schema=DEPARTED)


def of_media(batch: pa.RecordBatch, only: str | None) -> pa.BooleanArray:
    """Which records a stage with `only` is for."""
    if only is None:
        return pa.array(np.ones(batch.num_rows, bool))
    return pc.equal(batch.column("media"), only).fill_null(False)


def nobody(schema: pa.Schema) -> pa.RecordBatch:
    """No rows of a schema."""
    return pa.RecordBatch.from_pylist([], schema=schema)


def with_column(batch: pa.RecordBatch, name: str, values: Any) -> pa.RecordBatch:
    """The batch with one column replaced; the type stays."""
    at = batch.schema.get_field_index(name)
    field = batch.schema.field(at)
    return batch.set_column(at, field, pa.array(values, field.type) if not isinstance(values, pa.Array) else values)
