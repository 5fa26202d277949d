"""What a fetching task is given to do, and what its bin's journal says is done already."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.exchange import Rows, read_rows
from pipeline.fetching.journal import read_visits
from pipeline.store import Store
from stages.fetch.robots import Robots

URLS = pa.schema(
    [
        pa.field("key", pa.uint64()),
        pa.field("check", pa.uint64()),
        pa.field("url", pa.string()),
        pa.field("from_key", pa.uint64()),  # of the URL that records want, of which a redirect led here
        pa.field("from_check", pa.uint64()),
        pa.field("from_url", pa.string()),
        pa.field("attempts", pa.int32()),  # on the way here
        pa.field("seconds", pa.float64()),
        pa.field("earlier", pa.string()),  # another output that has the body, and where
        pa.field("body_file", pa.string()),
        pa.field("body_offset", pa.int64()),
        pa.field("body_length", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("final_url", pa.string()),
        pa.field("content_type", pa.string()),
        pa.field("fetched_at", pa.string()),
    ]
)
"""A URL to be asked for, by (key, check); one that several others redirect to stands there several times."""

Row = dict[str, Any]


@dataclass(frozen=True)
class FetchTask:
    """A bin in a round. requests: that it may cost, as far as earlier attempts at this round have left any."""

    bin: int
    round: int
    urls: Rows
    requests: int


@dataclass
class Known:
    """What the bin's journal says already."""

    urls: set[tuple[int, int]]
    """By host's key and their own."""
    robots: dict[int, dict[str, Robots]]
    """By host's key, and origin."""
    requests: Counter[int]
    """By host's key."""
    in_round: int
    """Requests of this round."""
    rests: dict[int, float]
    """Until when a host is left in peace, in seconds since 1970, by its key."""
    closed: dict[int, str]
    """Why a host is not asked any more, by its key."""


def known_to(store: Store, task: FetchTask) -> Known:
    """What the journal of the task's bin says. Raises StoreError."""
    known = Known(set(), {}, Counter(), 0, {}, {})
    names = ["key", "check", "url", "what", "round", "attempts", "status", "reason", "rules", "seconds", "fetched_time"]
    for table in read_visits(store, task.bin, names):
        for row in table.to_pylist():
            known.requests[row["key"]] += row["attempts"]
            known.in_round += row["attempts"] if row["round"] == task.round else 0
            if row["what"] == "page":
                known.urls.add((row["key"], row["check"]))
                continue
            if row["what"] == "host":
                until = row["fetched_time"] + row["seconds"]
                known.rests[row["key"]] = max(until, known.rests.get(row["key"], until))
                if row["reason"] is not None:
                    known.closed[row["key"]] = row["reason"]
                continue
            if row["reason"] == "job_budget_spent":
                continue  # a share of a round that was used up says nothing of the host
            robots = Robots(row["url"], row["fetched_time"], row["rules"] or "", row["reason"], row["status"])
            of_host = known.robots.setdefault(row["key"], {})
            if row["url"] not in of_host or of_host[row["url"]].fetched_at < robots.fetched_at:
                of_host[row["url"]] = robots
    return known


def may_cost(store: Store, urls: Rows, per_host: int) -> int:
    """Requests that a bin's URLs cost if each is asked for once, with a robots.txt for each host, and no host more than
    `per_host` times. Raises StoreError.
    """
    hosts: Counter[int] = Counter()
    for table in read_rows(store, urls):
        hosts.update(table["key"].to_pylist())
    return sum(min(count + 1, per_host) for count in hosts.values())


def hosts_of(store: Store, task: FetchTask, known: Known) -> dict[int, list[Row]]:
    """The URLs that nobody asked for yet, each once, by host's key. Raises StoreError."""
    hosts: defaultdict[int, list[Row]] = defaultdict(list)
    for table in read_rows(store, task.urls):
        for row in table.to_pylist():
            url = (row["key"], row["check"])
            if url not in known.urls:
                known.urls.add(url)
                hosts[row["key"]].append(row)
    return hosts
