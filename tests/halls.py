"""Exchanges driven to their end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from pipeline.exchange import Step

T = TypeVar("T")


def drive(steps: Generator[Step, None, T]) -> tuple[T, list[Step]]:
    """What a generator returns, and what it yielded before."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen
