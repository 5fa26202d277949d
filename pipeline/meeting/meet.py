"""Holds the meeting that a stage asks for, and says what came of it."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from pipeline.assets import Pin
from pipeline.exchange import Hall, Rows, Step
from pipeline.fetching.rounds import Fetched, refetch
from pipeline.meeting.exact import Emitted, exact_duplicates
from pipeline.meeting.home import send_home
from pipeline.meeting.members import Known
from pipeline.meeting.near import near_duplicates
from pipeline.meeting.shelf import Shelf
from pipeline.store import Store
from pipeline.tasks import ShardReport
from pipeline.writer import read_batches
from stages.dedup.exact import Exact
from stages.dedup.minhash import MinHash
from stages.fetch.refetch import Refetch
from stages.stage import Meeting

MOST_CLUSTERS = 20
EXCERPT = 2_000
"""Characters of a member's text."""


@dataclass(frozen=True)
class Met:
    """What came of a meeting. verdicts: the file for each shard that has any; clusters: the largest, as rows for the
    manifest; fetched: by a meeting that fetches.
    """

    verdicts: dict[int, str]
    alarms: list[str] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    fetched: Fetched | None = None


def meet(
    hall: Hall,
    stage: Meeting,
    pins: tuple[Pin, ...],
    reports: Sequence[ShardReport],
    folder: str,
    known: Known | None,
) -> Generator[Step, None, Met]:
    """Hold a meeting of the shards whose reports lie in `folder`.

    Raises MeetingFailed, and NotConverged where clusters do not come to an end.
    """
    emitted = [
        Emitted(report.number, report.files["emitted"].path, report.files["emitted"].rows)
        for report in reports
        if report.unreadable is None
    ]
    if isinstance(stage, Exact):
        verdicts = yield from exact_duplicates(hall, stage, emitted)
        return Met((yield from send_home(hall, verdicts, emitted)))
    if isinstance(stage, Refetch):
        fetched = yield from refetch(hall, stage, pins, emitted)
        return Met(dict(fetched.answers), list(fetched.alarms), fetched=fetched)
    assert isinstance(stage, MinHash)
    shelf = Shelf(secrets.token_hex(8), folder, stage.only, stage.ngram)
    found = yield from near_duplicates(hall, stage, emitted, known, shelf)
    homes = yield from send_home(hall, found.get("verdicts", []), emitted)
    return Met(homes, _alarms(hall, stage, found), _largest(hall, shelf, found.get("largest", [])))


def as_published(
    store: Store, clusters: Sequence[dict[str, Any]], reports: Sequence[ShardReport], dropped_text: str
) -> list[dict[str, Any]]:
    """The clusters with texts as far as they are published: of who stays as it is in `data/`, personal data replaced,
    or none if it left later; of the other as it left, or none where the job stores no texts of such records.
    """
    by_shard = {report.shard: report for report in reports}
    shown = []
    for cluster in clusters:
        kept, other = cluster["kept"], cluster["other"]
        text = _kept_text(store, by_shard[kept["shard"]], kept["offset"], kept["ordinal"])
        other_text = None if dropped_text == "none" else other["text"]
        shown.append(cluster | {"kept": kept | {"text": text}, "other": other | {"text": other_text}})
    return shown


def _kept_text(store: Store, report: ShardReport, offset: int, ordinal: int) -> str | None:
    for file in report.kept_files.values():
        for batch in read_batches(store, file.path, ("offset", "ordinal", "text")):
            here = pc.and_(pc.equal(batch.column("offset"), offset), pc.equal(batch.column("ordinal"), ordinal))
            for text in batch.filter(here).column("text").to_pylist():
                return str(text)[:EXCERPT]
    return None


def _alarms(hall: Hall, stage: MinHash, found: dict[str, Sequence[Rows]]) -> list[str]:
    alarms = []
    sizes = [size for table in hall.read(found.get("oversize", [])) for size in table["size"].to_pylist()]
    if sizes:
        what = "1 band key is" if len(sizes) == 1 else f"{len(sizes):,} band keys are"
        alarms.append(
            f"minhash: {what} shared by more than bucket_cap ({stage.bucket_cap:,}) records, one by {max(sizes):,}:"
            " is there boilerplate that extraction leaves in?"
        )
    crowded = [row for table in hall.read(found.get("crowded", [])) for row in table.to_pylist()]
    if crowded:
        most = max(crowded, key=lambda row: (row["members"], row["uncompared"]))
        alarms.append(
            f"minhash: in {len(crowded):,} clusters not all could be compared: of {most['members']:,} members"
            f" {most['uncompared']:,} stay without having been compared with all others"
        )
    return alarms


def _largest(hall: Hall, shelf: Shelf, rows: Sequence[Rows]) -> list[dict[str, Any]]:
    """The largest clusters: who stays, one that left, and how similar they are."""
    clusters = [row for table in hall.read(rows) for row in table.to_pylist()]
    clusters.sort(key=lambda row: (-row["size"], row["kept"], row["other"]))
    clusters = clusters[:MOST_CLUSTERS]
    docs = sorted({row[which] for row in clusters for which in ("kept", "other")})
    others = [row["other"] for row in clusters]
    texts = {doc: text[:EXCERPT] for doc, text in shelf.texts(hall.store, others)}
    who = {doc: shelf.whom(hall.store, doc) for doc in docs}
    return [
        {
            "size": row["size"],
            "similarity": row["similarity"],
            "kept": who[row["kept"]],
            "other": who[row["other"]] | {"text": texts[row["other"]]},
        }
        for row in clusters
    ]
