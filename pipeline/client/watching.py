"""What becomes of a job, as it happens: events and progress until it is over, however often the service restarts.

And a log that grows, read from windows on its end. Nothing here prints.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from pipeline.client.answers import JobEvent, Progress
from pipeline.client.client import Client
from pipeline.client.connection import Refused, Unavailable
from pipeline.client.event_stream import ServerEvent

PATIENCE = 900.0
"""Seconds that a service may be away before watching ends; its jobs go on meanwhile."""
PAUSES = (1.0, 15.0)
"""Seconds before a stream is asked for again: at first, and at most unless the service asks for more."""
WINDOW = 2_000
"""Lines of a log that are asked for each time: what is written between two looks should not be more."""
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Away:
    """The service does not answer; it is asked again."""

    said: str


Seen = JobEvent | Progress | Away


def watch(client: Client, job_id: str, pauses: tuple[float, float] = PAUSES) -> Iterator[Seen]:
    """All that befell a job, then what does, until it is over. Raises ServiceError."""
    first, longest = pauses
    last_id, silent_since, pause = "", None, first
    while True:
        try:
            for event in client.events(job_id, last_id):
                last_id, silent_since, pause = event.id, None, first
                seen = _read(event)
                if seen is not None:
                    yield seen
            if client.job(job_id).over:
                return
        except Unavailable as fault:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE:
                raise
            yield Away(str(fault))
            pause = max(min(2 * pause, longest), min(fault.wait, PATIENCE))
        time.sleep(pause)


def log_lines(client: Client, job_id: str, tail: int | None) -> Iterator[str]:
    """The lines of a job's log, from its last `tail` on if given, until the job is over. Raises ServiceError."""
    over = client.job(job_id).over
    window = _lines(client.log(job_id, None if tail is None else max(tail, WINDOW)), over)
    yield from window if tail is None else window[-tail:]
    while not over:
        time.sleep(LOOK_SECONDS)
        over = client.job(job_id).over
        before, window = window[-WINDOW:], _lines(client.log(job_id, WINDOW), over)
        yield from added(before, window)


def _lines(text: str, ended: bool) -> list[str]:
    """The lines of a log. Of one that has not ended, the last may yet grow, and is left for later."""
    *lines, last = text.split("\n")
    return [*lines, last] if ended and last else lines


def added(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """What the later of two windows on the end of a growing log has more: all of it where they do not overlap."""
    for start in range(len(before)):
        overlap = before[start : start + len(now)]
        if list(overlap) == list(now[: len(overlap)]):
            return now[len(overlap) :]
    return now


def _read(event: ServerEvent) -> Seen | None:
    """What an event tells; None for a kind that a newer service may send. Raises Refused."""
    model: type[JobEvent] | type[Progress] | None = _MODELS.get(event.kind)
    if model is None:
        return None
    try:
        return model.model_validate_json(event.data)
    except ValidationError as error:
        raise Refused(f"the service sends a {event.kind} that this version cannot read; use its own") from error


_MODELS: dict[str, type[JobEvent] | type[Progress]] = {"state": JobEvent, "note": JobEvent, "progress": Progress}
