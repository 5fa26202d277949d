"""`crawlmill inspect`: what happened to a record and why, in one sentence, on a terminal, or as JSON.

Finding records is `pipeline.audit.lookup`'s. Nearly every string here was written by strangers: what goes to a terminal
is made visible first (`pipeline.report.visible`), and handed to rich as `Text`, which reads no markup in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.audit.lookup import Found, find
from pipeline.report.visible import clipped, line, visible
from stages.filter.languages import language_data

__all__ = ["Found", "as_json", "explain", "find", "render"]

EXCERPT = 800
"""Characters of a text on a terminal."""
MAX_PARTS = 12
_MAX_LINE = 300
_STYLES = {"kept": "bold green", "dropped": "bold yellow", "failed": "bold red"}


def explain(found: Found) -> str:
    """One sentence on one line: `dropped by gopher_quality: too_few_words, 31 is below 50 (min_words)`."""
    record = found.record
    outcome, detail = line(str(record["outcome"]), _MAX_LINE), record["detail"]
    if outcome == "kept":
        return f"kept: no stage of {len(found.settings)} found fault with it{_stands_for(found)}"
    by, reason = line(str(record["stage"]), _MAX_LINE), line(str(record["reason"]), _MAX_LINE)
    said = f" ({line(detail, _MAX_LINE)})" if detail is not None else ""
    said += _repeated(record) or _measured(found)
    return f"{outcome} {'by' if outcome == 'dropped' else 'at'} {by}: {reason}{said}"


def as_json(found: Found) -> dict[str, Any]:
    """What JSON can say of it; numbers that JSON has not are null."""
    content: dict[str, Any] = _finite({"record": found.record, "signals": found.signals})
    return {
        **content,
        "explained": explain(found),
        "fetch": found.fetch,
        "cluster_size": found.cluster_size,
        "text": found.text,
        "no_text": found.no_text,
    }


def render(found: Found, console: Console) -> None:
    """Print a record: what became of it, what was measured, how its text begins."""
    record = found.record
    outcome = line(str(record["outcome"]), _MAX_LINE)
    console.print(Text.assemble((outcome, _STYLES.get(outcome, "bold")), "  ", _line(record["url"])))
    facts = Table.grid(padding=(0, 2))
    place = f"{record['shard']}, offset {record['offset']}, ordinal {record['ordinal']}"
    rows = {"id": record["id"], "place": place, "media": record["media"], "language": found.language}
    rows["fetched"] = _fetched(found.fetch)
    for name, value in (*rows.items(), ("because", explain(found))):
        if value is not None:
            facts.add_row(Text(name, "dim"), _line(value))
    console.print(Padding(facts, (0, 0, 0, 2)))
    if found.signals is not None:
        console.print(Padding(_signals(found), (1, 0, 0, 2)))
        for table in _pages(found):
            console.print(Padding(table, (1, 0, 0, 2)))
    console.print(Padding(_excerpt(found), (1, 0, 1, 2)))


@dataclass(frozen=True)
class _Bound:
    """A limit of a stage, and where it comes from. side: below it ("min") or above it ("max") a record fails."""

    field: str
    side: str
    value: float
    language: str | None = None

    @property
    def signal(self) -> str:
        """The measure it limits, going by its name."""
        return self.field.removeprefix(f"{self.side}_")

    def __str__(self) -> str:
        said = f"{'≥' if self.side == 'min' else '≤'} {_number(self.value)}"
        return said if self.language is None else f"{self.language} {said}"


def bounds_at(found: Found, kind: str) -> Iterator[_Bound]:
    """Limits of a stage in the recipe, then those that the record's language has in place of a recipe's defaults."""
    for settings in (fields for each, fields in found.settings if each == kind):
        yield from sorted(_bounds_of(settings, None), key=_side, reverse=True)
    if found.language is not None:
        own = language_data(found.language).thresholds.get(kind, {})
        yield from sorted(_bounds_of(own, found.language), key=_side, reverse=True)


def _bounds_of(fields: Mapping[str, Any], language: str | None) -> Iterator[_Bound]:
    for name, value in fields.items():
        if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)):
            yield _Bound(name, "min", value[0], language)
            yield _Bound(name, "max", value[1], language)
        elif _is_number(value) and name.startswith(("min_", "max_")):
            yield _Bound(name, name[:3], value, language)


def _stands_for(found: Found) -> str:
    others = (found.cluster_size or 1) - 1
    return f"; {others:,} near duplicate{'s' * (others != 1)} left for it" if others > 0 else ""


def _repeated(record: Mapping[str, Any]) -> str:
    """` of <urn:uuid:…>, similarity 0.83 (threshold 0.7)`: what a duplicate is said to repeat; of others nothing."""
    original, similarity, threshold = record["duplicate_of"], record["similarity"], record["threshold"]
    if original is None:
        return ""
    said = f" of {line(original, _MAX_LINE)}"
    if similarity is None or threshold is None:
        return said if similarity is None else f"{said}, similarity {_number(similarity)}"
    here, there = _apart(similarity, threshold)
    return f"{said}, similarity {here} (threshold {there})"


def _side(bound: _Bound) -> str:
    return bound.side


def _measured(found: Found) -> str:
    """`, 31 is below 50 (min_words)`: what the ledger says was measured, and which field it was held against."""
    record = found.record
    value, threshold = record["value"], record["threshold"]
    if value is None:
        return ""
    if threshold is None:
        return f", {_number(value)}"
    here, there = _apart(value, threshold)
    equal = [bound for bound in bounds_at(found, record["stage"]) if bound.value == threshold]
    broken = [bound for bound in equal if bound.side == ("min" if value < threshold else "max")]
    measures = (found.signals or {}).get(record["stage"]) or {}
    fields = {bound.field for bound in broken if measures.get(bound.signal) == value} or {
        bound.field for bound in broken
    }
    if equal and not broken:  # a judgement that the numbers come with, not one that they make, as wrong_language
        return f", {here} where {equal[0].field} is {there}"
    if value == threshold:
        return f", {here} reaches the limit"
    side = "below" if value < threshold else "above"
    return f", {here} is {side} {there}{f' ({fields.pop()})' if len(fields) == 1 else ''}"


def _signals(found: Found) -> Table:
    """Each rule's measures beside the limits that the recipe sets them; the one that failed stands out."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, justify in (("rule", "left"), ("signal", "left"), ("measured", "right"), ("recipe", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for kind, measures in (found.signals or {}).items():
        bounds, rule = list(bounds_at(found, kind)), kind
        for name, value in (measures or {}).items():
            limits = ", ".join(str(bound) for bound in bounds if bound.signal == name)
            failed = kind == found.record["stage"] and value is not None and value == found.record["value"]
            said = f"{len(value)}, below" if isinstance(value, list) else _said(value)
            table.add_row(_line(rule), _line(name), _line(said), _line(limits), style="bold yellow" if failed else "")
            rule = ""
        others = [f"{bound.field} {bound}" for bound in bounds if bound.signal not in (measures or {})]
        if others:
            table.add_row(_line(rule), "", "", _line(", ".join(others)))
    return table


def _fetched(fetch: Mapping[str, Any] | None) -> str | None:
    """What came of fetching a PDF again, in a sentence."""
    if fetch is None:
        return None
    status = f", status {fetch['status']}" if fetch["status"] is not None else ""
    if fetch["reason"] is not None:
        return f"not: {fetch['reason']}{status}; the crawl's copy went on"
    where = f"from {fetch['final_url']} on {fetch['fetched_at']}: {fetch['bytes']:,} bytes"
    if fetch["kind_differs"]:
        return f"{where} of {fetch['content_type'] or 'no known type'}, no PDF; the crawl's copy went on"
    return f"{where}, cut off as well ({fetch['truncated']})" if fetch["truncated"] is not None else where


def _pages(found: Found) -> Iterator[Table]:
    """What was measured part by part, as of the pages of a PDF: the first parts, and what is not nothing of them."""
    lists = (value for measures in (found.signals or {}).values() for value in (measures or {}).values())
    for parts in (value for value in lists if isinstance(value, list) and value):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        names = [name for name in parts[0] if any(part[name] for part in parts[:MAX_PARTS])]
        for column in ("page", *names):
            table.add_column(column, justify="right" if column == "page" or _is_number(parts[0][column]) else "left")
        for number, part in enumerate(parts[:MAX_PARTS], 1):
            table.add_row(str(number), *(_line(_said(part[name], 3)) for name in names))
        if len(parts) > MAX_PARTS:
            table.caption = f"and {len(parts) - MAX_PARTS:,} more (--json has them all)"
        yield table


def _said(value: Any, digits: int = 4) -> Any:
    return _number(value, digits) if _is_number(value) else "" if value is None else value


def _excerpt(found: Found) -> Text:
    if found.text is None:
        return Text(f"no text: {visible(found.no_text or '')}", "dim")
    rest = len(found.text) - EXCERPT
    shown = Text(visible(clipped(found.text, EXCERPT), lines=True))
    return shown.append(f"\n({rest:,} more characters)", "dim") if rest > 0 else shown


def _line(value: Any) -> Text:
    return Text(line("" if value is None else str(value), _MAX_LINE))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float, digits: int = 4) -> str:
    return f"{int(value):,}" if math.isfinite(value) and value == int(value) else f"{value:.{digits}g}"


def _apart(value: float, threshold: float) -> tuple[str, str]:
    """Both in as few digits as tell them apart."""
    for digits in range(4, 17):
        said = _number(value, digits), _number(threshold, digits)
        if said[0] != said[1] or value == threshold:
            return said
    return repr(value), repr(threshold)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
