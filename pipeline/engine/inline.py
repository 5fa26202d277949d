"""The engine of this process: one item after the other. For small jobs, tests, and looking at one thing at a time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from pipeline.budget import LocalBudget, allowed
from pipeline.engine import Context, Done, EngineError, Progress, R, T, Work

if TYPE_CHECKING:
    from pipeline.engine.nodes import Needs


class InlineEngine:
    """Runs work here. Progress is told with results only, since nobody listens while this process works.

    Ctrl-C is remembered and raised anew after each batch: native code in which it strikes may turn the
    KeyboardInterrupt into an error of its own (numba: SystemError) or lose it.
    """

    name = "inline"

    def __init__(self, requests_per_second: float) -> None:
        try:
            self.budget = LocalBudget(allowed(requests_per_second))
        except ValueError as error:
            raise EngineError(str(error)) from error
        self._interrupted = False
        self._handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def _interrupt(self, number: int, frame: Any) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _look_up(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt

    def check(self, needs: Needs) -> None:
        """This process made the plan: what it needs is here."""

    def map(self, work: Work[T, R], items: Sequence[T], label: Callable[[T], str]) -> Iterator[Done[T, R] | Progress]:
        told: dict[int, tuple[int, int]] = {}

        def tell(number: int, read: int, kept: int) -> None:
            told[number] = (read, kept)
            self._look_up()

        context = Context(tell, self.budget)
        for item in items:
            told.clear()
            start = time.monotonic()
            try:
                done = Done[T, R](item, work(item, context))
            except Exception as error:  # the item's own, handed on with it
                done = Done[T, R](item, None, error)
            self._look_up()
            if told and time.monotonic() - start > 1:
                yield Progress(dict(told))
            yield done
