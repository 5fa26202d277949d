"""A stage that misbehaves in every way a page can make a library misbehave; the cage's child imports it by name."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.stage import Extracted, IsolatedStage, Refusal


class Misbehave(IsolatedStage):
    """Does what the payload says."""

    kind: Literal["misbehave"] = "misbehave"
    handles = ("html",)
    reasons = ("refused",)

    def accepts(self, record: Mapping[str, Any]) -> Refusal | None:
        return None

    def process(self, payload: bytes, record: Mapping[str, Any]) -> Extracted | Refusal:
        deed, _, argument = payload.decode().partition(" ")
        answer = getattr(self, f"_{deed}")(argument)
        return Extracted(answer) if isinstance(answer, str) else answer

    def _say(self, text: str) -> str:
        return text

    def _pid(self, _: str) -> str:
        return str(os.getpid())

    def _refuse(self, reason: str) -> Refusal:
        return Refusal(reason, 1.0, 2.0, "with a \udcff surrogate")

    def _surrogates(self, _: str) -> str:
        return "a\ud800b\ud83d\ude00\0c"

    def _repeat(self, times: str) -> str:
        return "ü" * int(times)

    def _loop(self, _: str) -> str:
        while True:
            pass

    def _pages(self, seconds: str) -> str:
        """Hangs on the second page of two."""
        self.limit_cpu(60)
        self.limit_cpu(float(seconds))
        return self._loop("")

    def _spent(self, _: str) -> str:
        """Begins another page though no processor time is left."""
        self.limit_cpu(-1)
        return "went on"

    def _sleep(self, seconds: str) -> str:
        time.sleep(float(seconds))
        return "slept"

    def _lists(self, _: str) -> str:
        hoard: list[bytes] = []
        while True:
            hoard.append(bytes(2**24))

    def _array(self, _: str) -> str:
        return str(np.ones(2**36).sum())

    def _malloc(self, _: str) -> str:
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        while True:  # writes to what it was given without looking, as careless C does
            libc.memset(libc.malloc(ctypes.c_size_t(2**26)), 1, 2**26)

    def _segfault(self, _: str) -> str:
        return ctypes.string_at(0).decode()

    def _exit(self, status: str) -> str:
        os._exit(int(status))

    def _kill(self, _: str) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return "unreachable"

    def _raise(self, message: str) -> str:
        raise LookupError(message)

    def _recurse(self, depth: str) -> str:
        return self._recurse(depth)

    def _nothing(self, _: str) -> Any:
        return None

    def _print(self, text: str) -> str:
        print(text)
        print(text, file=sys.stderr, flush=True)
        os.write(1, text.encode())
        os.write(2, text.encode())
        return "printed"

    def _once(self, state: str) -> str:
        """Dies the first time only."""
        path = Path(state)
        if path.exists():
            return "the second time"
        path.touch()
        os._exit(1)
