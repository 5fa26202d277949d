"""What an earlier segment left of a shard, followed in the order of reading, and the verdicts of the meeting between.

The kept rows, the ledger, the signals and the dropped texts of a shard stand in the same order. They are followed side
by side, some kept rows at a time, so that memory does not grow with the shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.emission import SHARD_BITS, documents
from pipeline.fetching.bodies import ANSWERS, with_bodies
from pipeline.ledger import DROPPED, LEDGER, in_order
from pipeline.store import Store
from pipeline.writer import read_batches
from stages.fetch.refetch import Refetch
from stages.stage import DEPARTED, RECORD, VERDICT, Meeting, nobody, of_media, with_column

VERDICTS = pa.schema(
    [
        pa.field("doc", pa.uint64()),
        pa.field("reason", pa.string()),  # null: it stays
        pa.field("detail", pa.string()),
        pa.field("duplicate_of", pa.string()),  # id of the record that it repeats
        pa.field("similarity", pa.float64()),
        pa.field("cluster_size", pa.int64()),  # of what stays: itself and what repeats it
    ]
)
"""What a meeting decided; documents that it says nothing of stay, and are alone."""
DUPLICATES = pa.schema([*DEPARTED, LEDGER.field("duplicate_of"), LEDGER.field("similarity")])


@dataclass(frozen=True)
class Earlier:
    """Files that an earlier segment wrote of a shard (account: by kind), and what the meeting decided (None: nothing of
    this shard).
    """

    shard: int
    kept: str
    account: dict[str, str]
    verdicts: str | None


@dataclass(frozen=True)
class Window:
    """Some rows: those that go on, those that the meeting dropped (DUPLICATES), and the account of those that left
    before.
    """

    going_on: pa.RecordBatch
    dropped: pa.RecordBatch
    account: dict[str, pa.RecordBatch]


def follow(store: Store, earlier: Earlier, meeting: Meeting, signals: pa.Schema) -> Iterator[Window]:
    """All of a shard, window by window, in order."""
    schemas = {"ledger": LEDGER, "signals": signals, "dropped": DROPPED}
    beside = {kind: InStep(read_batches(store, path)) for kind, path in earlier.account.items()}
    kept = read_batches(store, earlier.kept)
    if isinstance(meeting, Refetch):  # which lets all stay, some with another payload
        kept = with_bodies(store, earlier.shard, _own(store, earlier, ANSWERS), meeting.only, kept)
        earlier = replace(earlier, verdicts=None)
    judge = _Judge(store, earlier, meeting)
    held: pa.RecordBatch | None = None
    for batch in kept:
        if held is not None:
            last = held.column("offset")[-1].as_py(), held.column("ordinal")[-1].as_py()
            account = {kind: in_order(list(each.upto(last)), schemas[kind]) for kind, each in beside.items()}
            yield _window(held, judge, account)
        held = batch
    account = {kind: in_order(list(each.upto(None)), schemas[kind]) for kind, each in beside.items()}
    yield _window(nobody(RECORD) if held is None else held, judge, account)


def _window(batch: pa.RecordBatch, judge: _Judge, account: dict[str, pa.RecordBatch]) -> Window:
    if "ledger" in account:  # those that stood then are accounted for anew
        account["ledger"] = account["ledger"].filter(pc.not_equal(account["ledger"].column("outcome"), "kept"))
    return Window(*judge.part(batch), account)


class InStep:
    """Rows in the order of (offset, ordinal), taken up to a place."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: pa.RecordBatch | None = None

    def upto(self, last: tuple[int, int] | None) -> Iterator[pa.RecordBatch]:
        """Rows that were not taken yet, up to and with the place `last`; None: all. No batch is empty."""
        while (batch := self._held if self._held is not None else next(self._batches, None)) is not None:
            cut = batch.num_rows
            if last is not None:
                offset, ordinal = (batch.column(name).to_numpy() for name in ("offset", "ordinal"))
                cut = int(np.count_nonzero((offset < last[0]) | ((offset == last[0]) & (ordinal <= last[1]))))
            self._held = batch.slice(cut) if cut < batch.num_rows else None
            if cut:
                yield batch.slice(0, cut)
            if self._held is not None:
                return


class _Judge:
    """The verdicts on a shard's records, which met in the order they stand in."""

    def __init__(self, store: Store, earlier: Earlier, meeting: Meeting) -> None:
        self._meeting, self._shard, self._met = meeting, earlier.shard, 0
        self._verdicts = _own(store, earlier, VERDICTS)
        self._docs = self._verdicts.column("doc").to_numpy()

    def part(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The rows that stay, and those that leave, of the next rows that met or passed by."""
        met = of_media(batch, self._meeting.only).to_numpy(zero_copy_only=False)
        docs = documents(self._shard, int(met.sum()), self._met)
        self._met += len(docs)
        rows = np.full(batch.num_rows, -1)
        if len(self._docs):
            at = np.minimum(np.searchsorted(self._docs, docs), len(self._docs) - 1)
            rows[met] = np.where(self._docs[at] == docs, at, -1)
        said = self._verdicts.take(pa.array(rows, mask=rows < 0))
        leaves = said.column("reason").is_valid()
        going_on = batch
        if self._meeting.counts_clusters:
            earlier = batch.column("minhash_cluster_size")  # of another media's meeting
            sizes = pc.if_else(pa.array(met), said.column("cluster_size").fill_null(1), earlier)
            going_on = with_column(batch, "minhash_cluster_size", sizes)
        return going_on.filter(pc.invert(leaves)), _duplicates(batch.filter(leaves), said.filter(leaves), self._meeting)


def _duplicates(batch: pa.RecordBatch, said: pa.RecordBatch, meeting: Meeting) -> pa.RecordBatch:
    threshold = pa.array([meeting.least_similarity] * batch.num_rows, pa.float64())
    verdict = [said.column("reason"), said.column("similarity"), threshold, said.column("detail")]
    assert len(verdict) == len(VERDICT)
    named = [said.column("duplicate_of"), said.column("similarity")]
    return pa.RecordBatch.from_arrays([*batch.columns, *verdict, *named], schema=DUPLICATES)


def _own(store: Store, earlier: Earlier, schema: pa.Schema) -> pa.RecordBatch:
    """What was said of one shard, by document; the file has what was said of several."""
    found = [nobody(schema)]
    if earlier.verdicts is not None:
        with store.open_read(earlier.verdicts) as stream:
            reader = pa.ipc.open_file(stream)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                shard = np.right_shift(batch.column("doc").to_numpy(), np.uint64(SHARD_BITS))
                found.append(batch.filter(pa.array(shard == earlier.shard)))
    own = pa.concat_batches(found)
    return own.take(pc.sort_indices(own.column("doc")))
