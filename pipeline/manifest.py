"""The manifest of a run: job, recipe, inputs, counts and every file with its digest, put together from the shards'
reports.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import assets
from pipeline.faults import blaming
from pipeline.flow import READ
from pipeline.plan import Plan, versions
from pipeline.store import Store
from pipeline.tasks import ShardReport

FILE = "manifest.json"
MAX_DOMAINS = 50
DROP_ALARM = 0.999
"""Share of a stage's records that it drops, above which somebody should look: a wrong field or a wrong kind of crawl.
"""


def write(store: Store, content: Mapping[str, Any]) -> None:
    """Write the manifest, which says that everything it lists is there."""
    store.write_atomic(FILE, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode())


def read(store: Store) -> dict[str, Any] | None:
    """The manifest of a run that came to its end, whatever that was. Raises StoreError where it is no JSON."""
    with blaming(f"{store.root}/{FILE}"):
        content: dict[str, Any] | None = json.loads(store.read_bytes(FILE)) if store.exists(FILE) else None
        return content


def build(
    plan: Plan,
    reports: Sequence[ShardReport],
    files: Sequence[Mapping[str, Any]],
    state: str,
    alarms: Sequence[str],
    clusters: Sequence[Mapping[str, Any]],
    extended: Mapping[str, int],
    seconds: float,
) -> dict[str, Any]:
    """The manifest.

    files: path, rows, bytes and sha256 of everything published; clusters: the largest; extended: versions of indexes
    that have what was kept.
    """
    done = [report for report in reports if report.unreadable is None]
    drops: Counter[tuple[str, str, str]] = Counter()
    languages: dict[str, Counter[str]] = {}
    skipped: Counter[str] = Counter()
    for report in done:
        skipped.update(report.skipped)
        for stage, reason, outcome, count in report.drops:
            drops[stage, reason, outcome] += count
        for language, (measured, kept) in report.languages.items():
            languages.setdefault(language, Counter()).update(measured=measured, kept=kept)
    totals = _totals(done, skipped, seconds)
    stages = list(funnel(plan, totals["records_read"], drops))
    return {
        "format": 1,
        "name": plan.job.name,
        "state": state,
        "job": plan.job.model_dump(mode="json"),
        "recipe": {
            "name": plan.job.recipe_name,
            "stages": [stage.model_dump(mode="json") for stage in plan.stages],
            "given": plan.given,
        },
        "versions": versions(),
        "fingerprint": plan.fingerprint,
        "assets": assets.as_json(plan.pins),
        "indexes": [
            {"index": root, "read": version.number if version else None, "extended": extended.get(root)}
            for root, version in sorted({**dict.fromkeys(extended), **plan.indexes}.items())
        ],
        "notes": plan.notes,
        "alarms": [*alarms, *_drop_alarms(stages)],
        "inputs": [{"path": report.shard, "bytes": report.bytes, "sha256": report.sha256} for report in done],
        "shards": [_shard(report) for report in done],
        "failed_shards": [
            {"path": report.shard, "bytes": report.bytes, "cause": report.unreadable}
            for report in reports
            if report.unreadable is not None
        ],
        "funnel": stages,
        "drops": [
            {"stage": s, "reason": r, "outcome": o, "count": n}
            for (s, r, o), n in sorted(drops.items(), key=lambda d: (-d[1], d[0]))
        ],
        "languages": [
            {"language": name, "measured": count["measured"], "kept": count["kept"]}
            for name, count in sorted(languages.items(), key=lambda each: (-each[1]["measured"], each[0]))
        ],
        "domains": _domains(done),
        "clusters": list(clusters),
        "duplicates": _duplicates(done),
        "files": list(files),
        "totals": totals,
    }


def funnel(plan: Plan, read: int, drops: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    """Records into and out of each stage, in the order of the recipe."""
    rows, coming = [], read
    for kind in dict.fromkeys([READ, *(stage.kind for stage in plan.stages)]):
        dropped = sum(n for (stage, _, outcome), n in drops.items() if stage == kind and outcome == "dropped")
        failed = sum(n for (stage, _, outcome), n in drops.items() if stage == kind and outcome == "failed")
        rows.append(
            {"stage": kind, "in": coming, "dropped": dropped, "failed": failed, "out": coming - dropped - failed}
        )
        coming -= dropped + failed
    return rows


def _totals(done: Sequence[ShardReport], skipped: Mapping[str, int], seconds: float) -> dict[str, Any]:
    def total(name: str) -> Any:
        return sum(getattr(report, name) for report in done)

    return {
        "records_read": total("read"), "kept": total("kept"), "dropped": total("dropped"), "failed": total("failed"),
        "bytes_read": total("bytes"), "bytes_lost": total("bytes_lost"),
        "tokens": total("tokens"), "text_bytes": total("text_bytes"), "skipped": dict(sorted(skipped.items())),
        "seconds": round(seconds, 3), "cpu_seconds": round(total("cpu_seconds"), 3),
    }  # fmt: skip


def _domains(done: Sequence[ShardReport]) -> list[dict[str, Any]]:
    """The hosts with most records; exact where no shard has more hosts than its report lists."""
    read: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for report in done:
        for host, (came, stayed) in report.hosts.items():
            read[host] += came
            kept[host] += stayed
    top = sorted(read.items(), key=lambda each: (-each[1], each[0]))[:MAX_DOMAINS]
    return [{"domain": host, "read": count, "kept": kept[host]} for host, count in top]


def _duplicates(done: Sequence[ShardReport]) -> list[dict[str, Any]]:
    """The hosts with most duplicates that left; exact where no shard has more hosts than its report lists."""
    left: Counter[str] = Counter()
    for report in done:
        left.update(report.duplicates)
    top = sorted(left.items(), key=lambda each: (-each[1], each[0]))[:MAX_DOMAINS]
    return [{"domain": host, "duplicates": count} for host, count in top]


def _shard(report: ShardReport) -> dict[str, Any]:
    counts = (
        "read",
        "kept",
        "dropped",
        "failed",
        "skipped",
        "bytes_lost",
        "seconds",
        "cpu_seconds",
        "peak_memory",
        "stage_seconds",
    )
    damage = [{"offset": offset, "bytes": length, "cause": cause} for offset, length, cause in report.damage]
    return {"path": report.shard, **{name: getattr(report, name) for name in counts}, "damage": damage}


def _drop_alarms(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['stage']} let {row['out']} of {row['in']} records through: is it set for this crawl?"
        for row in stages
        if row["in"] >= 100 and row["dropped"] + row["failed"] > DROP_ALARM * row["in"]
    ]
