"""The desk of a run: where its workers tell how far they are, and the doorkeeper of a cluster that has no other job."""

from __future__ import annotations

from pipeline.engine.doorkeeper import Doorkeeper


class Desk(Doorkeeper):
    """Lives in one process; what it forgets when that dies is told anew."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[int, tuple[int, int]] = {}

    def tell(self, number: int, read: int, kept: int) -> None:
        self._told[number] = (read, kept)

    def hear(self) -> dict[int, tuple[int, int]]:
        """What was told since the last time."""
        told, self._told = self._told, {}
        return told
