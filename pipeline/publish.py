"""Moves a finished account to its public place, and removes what an earlier attempt put there and nobody lists."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.store import Store
from pipeline.tasks import ShardReport
from pipeline.writer import Written

ACCOUNT = ("ledger", "signals", "dropped")


class Lost(RuntimeError):
    """A file that a report names is gone. One line, with what brings it back."""


def publish_account(store: Store, reports: Sequence[ShardReport]) -> list[Written]:
    """Move ledger, signals and dropped texts to their places; those that an earlier attempt moved are there already."""
    published = []
    for report in reports:
        for kind in ACCOUNT:
            if kind not in report.files:
                continue
            file, target = report.files[kind], f"{kind}/part-{report.number:05d}.parquet"
            if store.exists(file.path):
                store.move(file.path, target)
            elif not store.exists(target):
                raise Lost(
                    f"{target}: lost; remove the reports of shard {report.number:05d} under .work/shards and run again"
                    " to make it anew"
                )
            published.append(Written(target, file.rows, file.bytes, file.sha256, ()))
    return published


def remove_strangers(store: Store, published: set[str]) -> None:
    """Public files of an earlier attempt that judged otherwise."""
    for folder in ("data", *ACCOUNT):
        for path in store.list(folder):
            if path not in published:
                store.remove(path)
