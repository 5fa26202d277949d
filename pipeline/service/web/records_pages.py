"""The record explorer: what became of each record of a run, and why, found by what is known of it."""

from __future__ import annotations

import html
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from pipeline.audit.dataset import DamagedManifest, Dataset, NotADataset, open_dataset
from pipeline.audit.explore import Found, explain
from pipeline.report.duplicates import Piece, compared
from pipeline.service import search
from pipeline.service.api.callers import Reader
from pipeline.service.api.jobs import JobId, job_named
from pipeline.service.api.problems import Problem
from pipeline.service.api.slow import TurnsHere
from pipeline.service.jobs import Job
from pipeline.service.service import Service
from pipeline.service.web.measures import measures
from pipeline.service.web.rendering import page
from pipeline.store import Store

PER_PAGE = 20
MAX_LANGUAGES = 300
PARTNER_SECONDS = 5.0
"""For the other record of a pair: the page is about the first."""
_REPORT_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""A report allows one style by its own policy, but who may write to the output's store might write another report.
Nothing in it runs or sends. It keeps this origin, for the link back to bring the cookie along.
"""

Word = Annotated[str, Query(max_length=4_000)]


@dataclass(frozen=True)
class Asked:
    """What the explorer was asked for. cursor: of the page before."""

    query: search.Query
    cursor: str = ""

    @property
    def any(self) -> bool:
        return self.query != search.Query()

    def words(self, cursor: str | None = None) -> str:
        """The query part of the address of a page with the same question."""
        named = {**self.query.__dict__, "cursor": cursor}
        return urlencode({name: value for name, value in named.items() if value})


def records_pages(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/jobs/{job_id}/report")
    async def report(caller: Reader, job_id: JobId, turns: TurnsHere) -> Response:
        return await turns.searches.take(caller, lambda: _report(job_named(service, job_id)))

    @router.get("/jobs/{job_id}/records")
    async def records(
        request: Request,
        caller: Reader,
        turns: TurnsHere,
        job_id: JobId,
        url: Word = "",
        reason: Word = "",
        stage: Word = "",
        language: Word = "",
        outcome: Word = "",
        id: Word = "",
        duplicate_of: Word = "",
        cursor: Word = "",
    ) -> Response:
        query = search.Query(url.strip(), reason, stage, language, outcome, id.strip(), duplicate_of.strip())
        asked = Asked(query, cursor)
        return await turns.searches.take(caller, lambda: _records(request, job_named(service, job_id), asked))

    @router.get("/jobs/{job_id}/record")
    async def record(
        request: Request,
        caller: Reader,
        turns: TurnsHere,
        job_id: JobId,
        id: Word,
        shard: Word,
        offset: Annotated[int, Query(ge=0, lt=2**63)],
        ordinal: Annotated[int, Query(ge=0, lt=2**31)],
    ) -> Response:
        place = (shard, offset, ordinal)
        return await turns.searches.take(caller, lambda: _record(request, job_named(service, job_id), id, place))

    return router


def _report(job: Job) -> Response:
    store = Store(job.output)
    if not store.exists("report.html"):
        raise Problem(409, f"job {job.id} has no report: a run writes it at its end")
    way_back = f'<p class="kicker"><a href="/jobs/{job.id}">← {html.escape(job.name)} ({job.id})</a></p>'
    content = store.read_bytes("report.html").decode(errors="replace")
    return HTMLResponse(content.replace("<body>", f"<body>\n{way_back}", 1), headers=_REPORT_HEADERS)


def _records(request: Request, job: Job, asked: Asked) -> Response:
    dataset, found, fault, start = _opened(job), None, None, time.monotonic()
    try:
        found = search.search(job.output, asked.query, asked.cursor or None, PER_PAGE) if asked.any else None
    except ValueError as error:
        fault = str(error)
    return page(
        request,
        "records.html.j2",
        job=job,
        asked=asked,
        query=asked.query,
        found=found,
        fault=fault,
        seconds=time.monotonic() - start,
        rows=[(each, explain(each), _address(job, each)) for each in found.found] if found else [],
        first=asked.words(),
        following=asked.words(found.following) if found and found.following else None,
        reasons=_reasons(dataset),
        languages=[each.language for each in dataset.languages[:MAX_LANGUAGES]],
        totals=dataset.totals,
    )


def _record(request: Request, job: Job, id: str, place: tuple[str, int, int]) -> Response:
    _opened(job)
    results = search.search(job.output, search.Query(id=id), limit=1, fits=lambda each: _place(each) == place)
    if not results.found:
        late = "" if results.whole else "; the ledger is long, and its reading was ended"
        raise Problem(404, f"job {job.id} has no such record{late}")
    (found,) = results.found
    partner, relation = _partner(job, found)
    return page(
        request,
        "record.html.j2",
        job=job,
        found=found,
        record=found.record,
        explained=explain(found),
        measures=measures(found),
        partner=partner,
        partner_address=_address(job, partner) if partner else None,
        relation=relation,
        pieces=_pieces(found, partner),
    )


def _opened(job: Job) -> Dataset:
    """Raises Problem where there is no run to look into, or none that can be read."""
    try:
        return open_dataset(Store(job.output))
    except (NotADataset, DamagedManifest) as error:
        over = "its manifest" if job.state.over else "it has not come to its end"
        raise Problem(409, f"job {job.id} has no records to show: {over}: {error}") from error


def _reasons(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    """What records left for, with how many, by stage in the order of the recipe."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for kind in dataset.kinds:
        found[kind] = [(drop.reason, drop.count) for drop in dataset.drops if drop.stage == kind]
    return {kind: reasons for kind, reasons in found.items() if reasons}


def _place(found: Found) -> tuple[str, int, int]:
    return found.record["shard"], found.record["offset"], found.record["ordinal"]


def _address(job: Job, found: Found) -> str:
    """Of a record's page."""
    record = found.record
    words = {"id": record["id"], **{name: record[name] for name in ("shard", "offset", "ordinal")}}
    return f"/jobs/{job.id}/record?{urlencode(words)}"


def _partner(job: Job, found: Found) -> tuple[Found | None, str]:
    """The record that a duplicate repeats, or one of those that left for a kept one; and what it is to it."""
    original = found.record["duplicate_of"]
    if original is not None:
        query = search.Query(id=original)
        here = _place(found)
        others = search.search(
            job.output, query, limit=2, seconds=PARTNER_SECONDS, fits=lambda each: _place(each) != here
        ).found
        stayed = [each for each in others if each.record["outcome"] == "kept"]
        return next(iter(stayed or others), None), "what it repeats"
    if (found.cluster_size or 1) > 1:
        query = search.Query(duplicate_of=found.record["id"], outcome="dropped")
        others = search.search(job.output, query, limit=1, seconds=PARTNER_SECONDS).found
        return next(iter(others), None), "one that left for it"
    return None, ""


def _pieces(found: Found, partner: Found | None) -> tuple[list[Piece], list[Piece]] | None:
    """Both texts, cut where they differ."""
    if partner is None or not found.text or not partner.text:
        return None
    return compared(found.text, partner.text)
