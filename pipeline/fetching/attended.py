"""A coroutine run in a thread of its own, while the thread that called looks up now and then.

Signals strike the main thread. An event loop that a KeyboardInterrupt bursts out of leaves tasks half done; here it
ends the waiting, the coroutine is cancelled in good order, and then it goes on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

LOOK_SECONDS = 0.25


def attended(work: Coroutine[Any, Any, None], look_up: Callable[[], None]) -> None:
    """Run `work` to its end. What it raises is raised here; what `look_up` raises ends it."""
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()

    async def cancellable() -> None:
        task = asyncio.current_task()
        assert task is not None
        begun.set_result((asyncio.get_running_loop(), task))
        await work

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, cancellable())
        loop, task = begun.result()
        try:
            while not wait([running], LOOK_SECONDS).done:
                look_up()
        except BaseException:
            with suppress(RuntimeError):  # it ended meanwhile, and its loop is closed
                loop.call_soon_threadsafe(task.cancel)
            raise
        running.result()
