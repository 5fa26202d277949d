"""The cluster, for those who cannot wait for it: probes and scrapes give up after a second or ten."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

from pipeline.service.cluster import ClusterFault, Node
from pipeline.service.service import ClusterView

PATIENCE = 3.0
"""Seconds. Prometheus waits 10 for a whole scrape."""
FRESH = 2.0
"""Seconds for which an answer is as good as a new one."""
KNOWN = 60.0
"""Seconds for which one is better than none: probes come every ten or so."""


class Glance:
    """Asks one question at a time, however many want to know, and lets nobody wait longer than PATIENCE."""

    def __init__(self, cluster: ClusterView, patience: float = PATIENCE) -> None:
        self._cluster, self._patience = cluster, patience
        self._lock = threading.Lock()
        self._asked: Future[Sequence[Node]] | None = None
        self._at = 0.0
        self._before: Future[Sequence[Node]] | None = None
        self._before_at = 0.0

    def nodes(self) -> Sequence[Node]:
        """Raises ClusterFault."""
        try:
            question, since = self._question()
            return question.result(max(0.0, self._patience - since))
        except TimeoutError as silence:
            raise ClusterFault(f"no answer within {self._patience:g} s") from silence

    def up(self) -> bool | None:
        """Whether the cluster answers, as far as that is known without waiting; None where it is not."""
        question, since = self._question()
        if question.done():
            return question.exception() is None
        if since > self._patience:
            return False
        with self._lock:
            before = self._before if time.monotonic() - self._before_at < KNOWN else None
        return before.exception() is None if before is not None else None

    def _question(self) -> tuple[Future[Sequence[Node]], float]:
        """One that was asked, and how many seconds ago."""
        with self._lock:
            stale = time.monotonic() - self._at > FRESH
            if self._asked is None or (stale and self._asked.done()):
                self._before, self._before_at = self._asked, self._at
                self._asked, self._at = Future(), time.monotonic()
                # Not an executor's thread: nobody should wait for this one when the process ends.
                threading.Thread(target=self._ask, args=(self._asked,), name="glance", daemon=True).start()
            return self._asked, time.monotonic() - self._at

    def _ask(self, asked: Future[Sequence[Node]]) -> None:
        try:
            asked.set_result(self._cluster.nodes())
        except Exception as error:  # it is raised where the answer is wanted
            asked.set_exception(error)
