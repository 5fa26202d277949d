"""How far a job is: what its driver writes beside the data every few seconds, and everybody else reads.

A snapshot is whole, not a change to the one before it: whoever missed some has missed nothing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.events import Event, Exchanging, Finished, Packing, ShardDone, Started, Working
from pipeline.faults import StoreError
from pipeline.plan import Plan
from pipeline.progress import Tally
from pipeline.store import Store
from pipeline.tasks import ShardReport

FILE = ".work/progress.json"
SUBMITTED = ".work/submitted"
"""Where what an attempt is to do lies, under its name."""
MAX_STATES = 100_000
MAX_FAILURES = 50
MAX_BYTES = 2**20
"""Of a snapshot: what is larger was written by somebody else, and is not read."""
WAITING, RUNNING, DONE, UNREADABLE = "w", "r", "d", "f"


class Tracker:
    """What a run's events come to. Times are seconds on a monotonic clock."""

    def __init__(self, submission_id: str, now: float) -> None:
        self._submission_id = submission_id
        self._tally = Tally(now)
        self._plan: Plan | None = None
        self._phase = "planning"
        self._after: str | None = None
        self._step: dict[str, Any] | None = None
        self._states: list[str] = []
        self._reports: dict[int, ShardReport] = {}
        self._drops: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._alarms: list[str] = []

    def planned(self, plan: Plan) -> None:
        """What is to be done is known."""
        self._plan = plan
        self._states = [WAITING] * len(plan.inputs)

    def take(self, event: Event, now: float) -> None:
        """Count an event."""
        self._tally.take(event, now)
        if isinstance(event, Started):
            self._phase, self._after, self._step = "shards", event.after, None
            unreadable = {number for number, report in self._reports.items() if report.unreadable is not None}
            self._states = [UNREADABLE if n in unreadable else WAITING for n in range(len(self._states))]
            for report in event.done:
                self._count(report)
        elif isinstance(event, Working):
            for number in event.shards:
                if number < len(self._states) and self._states[number] == WAITING:
                    self._states[number] = RUNNING
        elif isinstance(event, ShardDone):
            self._count(event.report)
        elif isinstance(event, Exchanging):
            self._phase = f"{event.stage}: {event.phase}"
            self._step = {"stage": event.stage, "phase": event.phase, "done": event.done, "tasks": event.tasks}
        elif isinstance(event, Packing):
            self._phase = "data"
            self._step = {"stage": "data", "phase": "writing", "done": event.done, "tasks": event.parts}
        elif isinstance(event, Finished):
            self._phase, self._step, self._alarms = "over", None, list(event.manifest["alarms"])
            self._from_manifest(event.manifest)

    def snapshot(self, now: float, outcome: Mapping[str, str] | None = None) -> dict[str, Any]:
        """How far the run is. outcome: `state` and `said`, once it is over."""
        sums = {name: sum(getattr(report, name) for report in self._reports.values()) for name in _COUNTERS}
        underway = self._tally.underway if self._phase == "shards" and self._after is None else (0, 0)
        stages = [stage.kind for stage in self._plan.stages] if self._plan is not None else []
        working = self._phase == "shards" and outcome is None
        return {
            "submission_id": self._submission_id,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "phase": "over" if outcome is not None else self._phase,
            "after": self._after,
            "shards": len(self._states),
            "shards_done": sum(state in (DONE, UNREADABLE) for state in self._states),
            "shards_failed": self._states.count(UNREADABLE),
            "states": "".join(self._states) if len(self._states) <= MAX_STATES else "",
            "read": sums["read"] + underway[0],
            "kept": sums["kept"] + underway[1],
            "dropped": sums["dropped"],
            "failed": sums["failed"],
            "bytes": sums["bytes"],
            "rate": round(self._tally.rate(now), 1) if working else None,
            "seconds_left": self._tally.seconds_left(now) if working else None,
            "step": self._step,
            "stages": [
                {
                    "stage": kind,
                    "dropped": self._drops[kind, "dropped"],
                    "failed": self._drops[kind, "failed"],
                    "seconds": round(self._seconds[kind], 1),
                }
                for kind in dict.fromkeys(["read", *stages])
            ],
            "failures": self._failures(),
            "alarms": self._alarms,
            "outcome": dict(outcome) if outcome is not None else None,
        }

    def _count(self, report: ShardReport) -> None:
        """Take a shard's report in place of the one that it had after an earlier segment."""
        before = self._reports.get(report.number)
        for sign, each in ((-1, before), (1, report)):
            if each is not None:
                for stage, _, outcome, count in each.drops:
                    self._drops[stage, outcome] += sign * count
                for stage, seconds in each.stage_seconds.items():
                    self._seconds[stage] += sign * seconds
        self._reports[report.number] = report
        if report.number < len(self._states):
            self._states[report.number] = DONE if report.unreadable is None else UNREADABLE

    def _failures(self) -> list[dict[str, str]]:
        failed = [report for report in self._reports.values() if report.unreadable is not None]
        return [{"shard": report.shard, "said": str(report.unreadable)} for report in failed[:MAX_FAILURES]]

    def _from_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Of a run that an earlier attempt finished there were no other events."""
        if self._reports or self._plan is None:
            return
        numbers = {given.shard: number for number, given in enumerate(self._plan.inputs)}
        for shard in manifest["shards"]:
            counts = {name: shard[name] for name in ("read", "kept", "dropped", "failed", "stage_seconds")}
            self._count(ShardReport(numbers[shard["path"]], shard["path"], 0, **counts))
        for shard in manifest["failed_shards"]:
            self._count(ShardReport(numbers[shard["path"]], shard["path"], 0, unreadable=shard["cause"]))
        for row in manifest["funnel"]:
            self._drops[row["stage"], "dropped"], self._drops[row["stage"], "failed"] = row["dropped"], row["failed"]


_COUNTERS = ("read", "kept", "dropped", "failed", "bytes")


def write_progress(store: Store, snapshot: Mapping[str, Any]) -> None:
    """Replace the snapshot in an output. Raises StoreError."""
    store.write_atomic(FILE, json.dumps(snapshot, ensure_ascii=False).encode())


def read_progress(store: Store, submission_id: str) -> dict[str, Any] | None:
    """The last snapshot of an attempt; None where it has written none. Raises StoreError."""
    if not store.exists(FILE):
        return None
    try:
        with store.open_read(FILE) as stream:
            written = stream.read(MAX_BYTES + 1)
        if len(written) > MAX_BYTES:
            raise StoreError(f"{store.root}/{FILE}: more than {MAX_BYTES} bytes, which no driver writes")
        content = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{store.root}/{FILE}: not JSON") from error
    return content if isinstance(content, dict) and content.get("submission_id") == submission_id else None
