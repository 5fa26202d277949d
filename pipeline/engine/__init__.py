"""Where work runs: one method, `map`, with two implementations that give equal results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from pipeline.budget import Budget
from stages.fetch.politeness import Turns

if TYPE_CHECKING:
    from pipeline.engine.nodes import Needs

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Context:
    """What a piece of work has of the world outside: a way to tell how far it is, and the run's request budget.

    turns: by which other jobs that ask the same hosts agree with this one; None where there are none.
    """

    tell: Callable[[int, int, int], None]
    budget: Budget
    turns: Turns | None = None


@dataclass(frozen=True)
class Done(Generic[T, R]):
    """An item and its result, or the error that ended it."""

    item: T
    result: R | None
    error: BaseException | None = None


@dataclass(frozen=True)
class Progress:
    """How far unfinished work is: (records read, records kept) by shard number."""

    shards: dict[int, tuple[int, int]]


class EngineError(RuntimeError):
    """The engine cannot be had, or its nodes cannot do this work. One line: where, what is wrong, what to do."""


Work = Callable[[T, Context], R]


class Engine(Protocol):
    """Runs work. Used as a context manager: entering starts or joins what it runs on, raising EngineError."""

    name: str

    @property
    def budget(self) -> Budget: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: Any) -> None: ...

    def check(self, needs: Needs) -> None:
        """See that work can be done wherever it may come to run. Raises EngineError."""
        ...

    def map(self, work: Work[T, R], items: Sequence[T], label: Callable[[T], str]) -> Iterator[Done[T, R] | Progress]:
        """Run work on each item; results come as they finish, progress between them.

        An error belongs to its item and stops no other. Work may run more than once, where a machine died, and must not
        mind. A bounded number of items is in flight. `label` names an item to people who watch the engine. Raises
        EngineError where a machine that came later does not pass `check`.
        """
        ...
