"""Moves a finished account to its public place, and removes what an earlier attempt put there and nobody lists."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.store import Store
from pipeline.tasks import ShardReport
from pipeline.writer import Written

ACCOUNT = ("ledger", "signals", "dropped")


class Lost(RuntimeError):
    """A file that a report names is gone. One line, with what brings it back."""


def account_path(store: Store, report: ShardReport, kind: str) -> str:
    """Where a shard's ledger, signals or dropped texts are: where its report says, or published by an attempt that
    failed. Raises Lost.
    """
    path, target = report.files[kind].path, f"{kind}/part-{report.number:05d}.parquet"
    if store.exists(path):
        return path
    if store.exists(target):
        return target
    again = f"remove the reports of shard {report.number:05d} under .work/shards and run again to make it anew"
    raise Lost(f"{target}: lost; {again}")


def publish_account(store: Store, reports: Sequence[ShardReport]) -> list[Written]:
    """Move ledger, signals and dropped texts to their places; those that an earlier attempt moved are there already."""
    published = []
    for report in reports:
        for kind in ACCOUNT:
            if kind not in report.files:
                continue
            file, target = report.files[kind], f"{kind}/part-{report.number:05d}.parquet"
            path = account_path(store, report, kind)
            if path != target:
                store.move(path, target)
            published.append(Written(target, file.rows, file.bytes, file.sha256, ()))
    return published


def remove_strangers(store: Store, published: set[str]) -> None:
    """Public files of an earlier attempt that judged otherwise."""
    for folder in ("data", *ACCOUNT):
        for path in store.list(folder):
            if path not in published:
                store.remove(path)
