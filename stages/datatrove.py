"""Filters and formatters of datatrove as stages: what a user already has, inside a recipe.

datatrove comes with the extra `crawlmill[datatrove]`. Its filters judge one document at a time and say no measure, so
that the ledger has their reason alone. Its readers, writers, extractors and dedup steps have counterparts here and are
refused.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from stages.decision import Decision
from stages.language.labels import canonical
from stages.stage import BatchStage, Outcome, Reaches, depart, with_column

_OWN = ("kind", "only", "block")
_SHOWN = ("id", "text", "url", "date", "dump", "shard", "language", "language_score")
_MAY_CHANGE = ("text", "language", "language_score")


class Datatrove(BatchStage):
    """Runs `block`, a class of datatrove (or of yours, derived from one) made with the other fields as arguments.

    A filter's reasons appear in snake case, `dropped_by_datatrove` where it gives none. A document that makes the block
    raise is failed with the error. Metadata that a block adds is not kept, but for `language` and `language_score`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: Literal["datatrove"] = "datatrove"
    block: Annotated[str, Reaches("code")]
    """Dotted path of a class derived from datatrove's BaseFilter or BaseFormatter."""
    reasons: ClassVar[tuple[str, ...]] = ("dropped_by_datatrove", "block_raised")
    requires: ClassVar[tuple[str, ...]] = ("datatrove",)
    extra: ClassVar[str] = "datatrove"

    def load(self) -> None:
        self._block()

    def _block(self) -> Any:
        arguments = {name: value for name, value in self.model_dump().items() if name not in _OWN}
        try:
            return make_block(self.block, json.dumps(arguments, sort_keys=True))
        except TypeError as error:  # YAML has dates, JSON has none
            raise ValueError(f"block {self.block}: its arguments must be such as JSON can hold: {error}") from error

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        block, n = self._block(), batch.num_rows
        answers = [_answer(block, row) for row in batch.select(_SHOWN).to_pylist()]
        broken = np.array([answer.error is not None for answer in answers], bool)
        refused = np.array([answer.reason is not None for answer in answers], bool)
        failed = depart(batch, _verdict(broken, ["block_raised"] * n, [answer.error for answer in answers]))
        dropped = depart(batch, _verdict(refused, [answer.reason for answer in answers], [self.block] * n))
        stays = ~broken & ~refused
        kept = batch.filter(pa.array(stays))
        for name in _MAY_CHANGE:
            kept = with_column(kept, name, [answers[row].changed[name] for row in np.flatnonzero(stays)])
        same = pc.equal(kept.column("text"), batch.column("text").filter(pa.array(stays)))
        kept = with_column(kept, "page_ends", pc.if_else(same, kept.column("page_ends"), None))
        return Outcome(kept, dropped, failed)


@dataclass(frozen=True)
class _Answer:
    """What a block made of a document: columns as they are now, and why it leaves, if it does."""

    changed: Mapping[str, Any]
    reason: str | None = None
    error: str | None = None


def _answer(block: Any, row: Mapping[str, Any]) -> _Answer:
    from datatrove.data import Document
    from datatrove.pipeline.formatters.base import BaseFormatter

    metadata = {name: value for name, value in row.items() if name not in ("id", "text") and value is not None}
    document = Document(text=row["text"], id=row["id"], metadata=metadata)
    try:
        keep, reason = True, None
        if isinstance(block, BaseFormatter):
            document.text = block.format(document.text)
        else:
            verdict = block.filter(document)
            keep, reason = verdict if isinstance(verdict, tuple) else (verdict, None)
        if not keep:
            return _Answer(row, reason=_snake(str(reason or "")))
        return _Answer(_changed(document, row))
    except Exception as raised:  # code of the user's choice: what it raises is the document's failure
        said = f"{type(raised).__name__}: {raised}"[:200]
        return _Answer(row, error=said.encode("utf-8", "replace").decode())


def _changed(document: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of `_MAY_CHANGE` after the block. Raises where they can no longer be written."""
    text, metadata = document.text, document.metadata
    if not isinstance(text, str):
        raise TypeError(f"the block made {type(text).__name__} of a text")
    text.encode()
    language, score = metadata.get("language"), metadata.get("language_score")
    if language != row["language"]:
        language = canonical("_".join(filter(None, (language, metadata.get("language_script")))))
    return {"text": text, "language": language, "language_score": None if score is None else float(score)}


@cache
def make_block(path: str, arguments: str) -> Any:
    """The block, made once a process. ValueError says what is wrong with its path, its class or its arguments."""
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.formatters.base import BaseFormatter

    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs code of the user's choice
        raise ValueError(f"block {path}: {type(error).__name__}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, (BaseFilter, BaseFormatter))):
        raise ValueError(f"block {path} is no datatrove filter or formatter")
    try:
        block = kind(**json.loads(arguments))
    except Exception as error:  # a class of the user's choice; its own message says best what it wants
        raise ValueError(f"block {path}: {type(error).__name__}: {error}") from error
    return block


def _snake(reason: str) -> str:
    words = "".join(char if char.isalnum() else " " for char in reason.lower()).split()
    return "_".join(words) or "dropped_by_datatrove"


def _verdict(fails: Any, reasons: list[Any], details: list[Any]) -> Decision:
    nothing = np.full(len(fails), np.nan)
    return Decision(np.asarray(fails, bool), np.array(reasons, object), nothing, nothing, np.array(details, object))
