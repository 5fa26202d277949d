"""A Ray of the service's own for tests, ended when they are over, and no other Ray with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.service.daemon import ray_here


@contextlib.contextmanager
def ray_home() -> Iterator[Path]:
    """A folder for what a service writes; what runs out of it is killed in the end. Its name is short, as Ray needs."""
    home = Path(tempfile.mkdtemp(prefix="cm-"))
    try:
        yield home
    finally:
        kill(str(home))
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def ray_daemon() -> Iterator[tuple[Path, str]]:
    """Such a folder, and the job server of the Ray that runs out of it."""
    with ray_home() as home:
        yield home, ray_here(home)


def kill(word: str) -> list[int]:
    """kill -9 all processes that have a word on their command line; their numbers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if word.encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                os.kill(int(entry.parent.name), signal.SIGKILL)
                found.append(int(entry.parent.name))
    return found
