"""Variables in a schedule's job: `{snapshot}` in a name or a path becomes the snapshot that a run is for.

| variable | in a schedule of | stands for |
| --- | --- | --- |
| `{schedule}` | both | its name |
| `{snapshot}` | snapshots | CC-MAIN-2026-43 |
| `{date}` | instants | 2026-11-21, the day in the schedule's zone |
| `{time}` | instants | 20261121T060000Z, the instant in UTC |

Every text of a job may hold them, keys do not. A brace is written twice: `{{` and `}}`. What variables stand for is
made of letters, digits and `. _ -`, so none leads out of a path. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from pipeline.service.scheduling.cron import Cron
from pipeline.service.scheduling.scheduler import EverySnapshot, instant_of
from pipeline.spec import JobError
from stages.catalog import did_you_mean

MAX_DEPTH = 50
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]{0,64})\}|[{}]")


def variables(name: str, trigger: Cron | EverySnapshot, occasion: str) -> dict[str, str]:
    """What the variables stand for in the run of an occasion."""
    if isinstance(trigger, EverySnapshot):
        return {"schedule": name, "snapshot": occasion}
    instant = instant_of(occasion)
    day = f"{trigger.local(instant):%Y-%m-%d}"
    return {"schedule": name, "date": day, "time": f"{instant.astimezone(UTC):%Y%m%dT%H%M%SZ}"}


def fill(spec: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """The job of one run. Raises JobError, with the place, for a variable that is none and for a brace alone."""
    return {key: _filled(value, values, key, 1) for key, value in spec.items()}


def _filled(value: Any, values: Mapping[str, str], place: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise JobError(f"{place[:200]}: nested more than {MAX_DEPTH} deep, which no job is")
    if isinstance(value, str):
        return _PIECE.sub(lambda piece: _stands_for(piece, values, place), value)
    if isinstance(value, dict):
        return {key: _filled(each, values, f"{place}.{key}", depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values, f"{place}[{at}]", depth + 1) for at, each in enumerate(value)]
    return value


def _stands_for(piece: re.Match[str], values: Mapping[str, str], place: str) -> str:
    text = piece.group()
    if text in ("{{", "}}"):
        return text[0]
    if piece[1] is None:
        raise JobError(f"{place[:200]}: a lone {text}; a brace that is no variable's is written {text * 2}")
    if piece[1] not in values:
        close = did_you_mean(piece[1], list(values))
        raise JobError(f"{place[:200]}: {text}: no variable here{close} (any other brace is written twice)")
    return values[piece[1]]
