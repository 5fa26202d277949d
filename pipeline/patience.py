"""How long a client keeps trying, and how long it waits in between. Arithmetic only: nothing here sleeps or sends.

One rule ends every wait, loop and trickle: within `Terms.patience` seconds of waiting and receiving, another
`Terms.progress` bytes must arrive.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from stages.fetch.politeness import retry_after as retry_after
from stages.fetch.politeness import whole_number as whole_number


@dataclass(frozen=True)
class Terms:
    """How patient the client is, in seconds, and what it takes from the world outside."""

    patience: float = 900.0
    progress: int = 2**20
    """Bytes that renew the patience: a server that gives one byte for each connection is not making progress."""
    first_wait: float = 1.0
    """Common Crawl asks for no more than one try a second (status.commoncrawl.org)."""
    longest_wait: float = 60.0
    connect: float = 20.0
    read: float = 60.0
    contact: str = ""
    """An address for the server's operator, sent with the product's name."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    today: Callable[[], float] = time.time


TERMS = Terms()


class Patience:
    """What one download has used of its patience since its last progress."""

    def __init__(self, terms: Terms, seed: str) -> None:
        self._terms = terms
        self._jitter = random.Random(seed)  # differs from file to file, and not from run to run
        self._tries, self._fresh = 0, 0
        self.spent = 0.0

    def wait(self, asked: float) -> float | None:
        """Seconds to wait before the next try, at least those `asked` for; None when that would be too long."""
        growing = min(self._terms.longest_wait, self._terms.first_wait * 2.0 ** min(self._tries, 60))
        seconds = max(asked, growing * self._jitter.uniform(1.0, 1.5))
        self._tries += 1
        if self.spent + seconds > self._terms.patience:
            return None
        self.spent += seconds
        return seconds

    def received(self, count: int) -> bool:
        """Count new bytes; False when they come too slowly."""
        self._fresh += count
        if self._fresh >= self._terms.progress:
            self._tries, self._fresh, self.spent = 0, 0, 0.0
        return self.spent <= self._terms.patience
