"""Where two plans differ, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Where two identities differ, in words: `stages[2].min_words: 50 then, 30 now`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{place}.{key}" if place else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new)):
            yield from differences(one, other, f"{place}[{at}]")
    elif old != new:
        yield f"{place}: {_short(old)} then, {_short(new)} now"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries"
    said = json.dumps(value)
    return said if len(said) <= 60 else f"{said[:57]}…"
