"""What rules measured of a record beside the limits that its recipe sets them, in rows for a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.audit.explore import Found, bounds_at
from pipeline.report.figures import measure


@dataclass(frozen=True)
class Measure:
    """One measure. limits: `≥ 50, ≤ 100,000`; empty where nothing limits it. hit: it is why the record left."""

    rule: str
    signal: str
    measured: str
    limits: str
    hit: bool


def measures(found: Found) -> list[Measure]:
    """In the order of the recipe; none where the record did not come to the rules."""
    return list(_measures(found))


def _measures(found: Found) -> Iterator[Measure]:
    for rule, signals in (found.signals or {}).items():
        bounds = list(bounds_at(found, rule))
        for name, value in (signals or {}).items():
            limits = ", ".join(str(bound) for bound in bounds if bound.signal == name)
            hit = rule == found.record["stage"] and value is not None and value == found.record["value"]
            yield Measure(rule, name, _said(value), limits, hit)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value):,} parts"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return measure(value)
    return "" if value is None else str(value)
