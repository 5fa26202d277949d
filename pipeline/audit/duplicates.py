"""Duplicates, checked: does each name a record that stayed, is it similar enough, and do cluster sizes count them?

Who left as a duplicate, and whom it names, is in the ledgers; cluster sizes are in `data/`. For a dataset whose recipe
has meetings some 8-byte numbers are held in memory: one for each record that came past the first meeting, one for each
near duplicate, two for each kept record that has some. All else goes by window by window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.audit.dataset import Dataset, File
from pipeline.audit.rows import (
    PLACE,
    UNREADABLE,
    WINDOW,
    Bools,
    Difference,
    Notes,
    mask,
    read_rows,
    row_hashes,
    row_words,
)
from pipeline.ledger import LEDGER
from pipeline.store import Store
from stages.catalog import STAGES
from stages.stage import Meeting

IN_INDEX = "duplicate_in_index"
"""The reason of records that repeat one of an earlier snapshot, which has no row here."""
SIZE = "minhash_cluster_size"
COLUMNS = ("media", "outcome", "stage", "reason", "duplicate_of", "similarity")
"""Of the ledger, what is looked at here; besides the id."""
_AGAIN = pa.schema([LEDGER.field(name) for name in (*PLACE, "media", "stage", "reason", "duplicate_of")])
_WHERE = np.uint64(0xFF)  # the bits of a hash that give way to where its record left
_KEPT = 255

Numbers = npt.NDArray[np.uint64]


class Duplicates:
    """What the ledgers and the data of one dataset say of duplicates.

    It takes all ledgers (`take`); only then it can say who names nobody (`unfounded`), take the data (`weigh`), and say
    whether sizes are right (`miscounted`).
    """

    def __init__(self, dataset: Dataset) -> None:
        self._settings = [("", {}), *((kind, _sound(fields)) for kind, fields in dataset.settings)]  # as Dataset.kinds
        self._reasons = {kind: dataset.reasons_of(kind) for kind in dataset.kinds if dataset.is_meeting(kind)}
        self._first = min(map(dataset.kinds.index, self._reasons), default=_KEPT)
        self._counting = [
            (at, fields.get("only")) for at, (kind, fields) in enumerate(self._settings) if _counts_clusters(kind)
        ]
        self._naming: set[str] = set()
        self._standing: list[Numbers] = []
        self._named: list[Numbers] = []
        self._sized: list[tuple[Numbers, npt.NDArray[np.float64]]] = []

    def take(self, window: pa.RecordBatch, ledger: str, notes: Notes) -> None:
        """Look at some rows of a ledger, and remember what others may say of them."""
        repeats, named = self._repeats(window), mask(window.column("duplicate_of").is_valid())
        similarity = window.column("similarity")
        notes.rows("that left as duplicates and do not say of what", window, repeats & ~named)
        notes.rows(
            "that did not leave as duplicates and say of what, or how similar",
            window,
            ~repeats & (named | mask(similarity.is_valid())),
        )
        between = mask(pc.and_(pc.greater_equal(similarity, 0), pc.less_equal(similarity, 1)).fill_null(True))
        notes.rows("with a similarity that is not between 0 and 1", window, ~between)
        self._compare(window, similarity, notes)
        if not self._reasons:
            return
        if (repeats & named).any():
            self._naming.add(ledger)
        places = self._places(window)
        places[mask(pc.equal(window.column("outcome"), "kept"))] = _KEPT
        stood = places > self._first
        self._standing.append(_at(row_hashes(window.filter(pa.array(stood)), ("id",)), places[stood]))
        near = window.filter(pa.array(repeats & named & self._counted(window)))
        self._named.append(row_hashes(near, ("duplicate_of",)))

    def unfounded(self, store: Store, ledger: File) -> Iterator[Difference]:
        """What a ledger has of duplicates whose original neither was kept nor left later than they did."""
        if ledger.path not in self._naming:
            return
        notes = Notes(ledger.path)
        try:
            for window in read_rows(store, ledger, _AGAIN, WINDOW, Notes(ledger.path)):  # its length was compared
                repeats = self._repeats(window) & mask(window.column("duplicate_of").is_valid())
                repeats &= mask(pc.not_equal(window.column("reason"), IN_INDEX))
                some = window.filter(pa.array(repeats))
                repeats[repeats] = ~self._stood(row_hashes(some, ("duplicate_of",)), self._places(some), _KEPT)
                notes.rows(
                    "that are duplicates of a record that is not here, or did not stay when they left", window, repeats
                )
        except UNREADABLE as error:
            notes.damage(error)
        yield from notes.differences()

    def weigh(self, batch: pa.RecordBatch, notes: Notes) -> None:
        """Look at the cluster sizes of some rows of `data/`, and remember those that others must account for."""
        size = batch.column(SIZE)
        met = self._of_media(batch, (only for _, only in self._counting))
        there = mask(size.is_valid())
        for problem, where in (
            (f"that met others by their words and have no {SIZE}", met & ~there),
            (f"that met nobody by their words and have a {SIZE}", ~met & there),
            (f"with a {SIZE} below 1", mask(pc.less(size, 1).fill_null(False))),
        ):
            if where.any():
                first = batch.column("id")[int(np.argmax(where))].as_py()
                notes.count(problem, int(where.sum()), f"id {first}")
        several = batch.filter(pc.greater(size, 1).fill_null(False))
        repeated = several.column(SIZE).to_numpy().astype(np.float64) - 1
        self._sized.append((row_hashes(several, ("id",)), repeated))

    def miscounted(self) -> int:
        """How many ids have kept records whose cluster sizes are not what the ledgers come to."""
        named = _joined(self._named)
        owners, repeated = _joined(ids for ids, _ in self._sized), np.concatenate([[0.0], *(n for _, n in self._sized)])
        ids = np.unique(np.concatenate([named, owners]))
        counted = np.bincount(np.searchsorted(ids, named), minlength=len(ids))
        said = np.bincount(np.searchsorted(ids, owners), weights=repeated[1:], minlength=len(ids))
        # Who is named may have left since, for a reason of its own; then nobody is left to say what it stood for.
        first = min((at for at, _ in self._counting), default=0)
        gone = self._stood(ids, np.full(len(ids), first), _KEPT - 1)
        return int(np.count_nonzero((said > counted) | ((said < counted) & ~gone)))

    def _repeats(self, window: pa.RecordBatch) -> Bools:
        """Which rows left at a meeting for a reason of its own: others leave there because they have no text."""
        found = np.zeros(window.num_rows, bool)
        for kind, reasons in self._reasons.items():
            own = pc.is_in(window.column("reason"), pa.array(reasons, pa.string()))
            found |= mask(pc.and_(pc.equal(window.column("stage"), kind), own).fill_null(False))
        return found

    def _compare(self, window: pa.RecordBatch, similarity: pa.Array, notes: Notes) -> None:
        """Similarities that a stage must give, and what it says they must reach."""
        for kind, fields in self._settings:
            if not _counts_clusters(kind):
                continue
            here = self._repeats(window) & mask(pc.equal(window.column("stage"), kind).fill_null(False))
            here &= self._of_media(window, [fields.get("only")])
            notes.rows("that left as near duplicates without a similarity", window, here & ~mask(similarity.is_valid()))
            if fields.get("verify") and "threshold" in fields:
                threshold = fields["threshold"]
                less = mask(pc.less(similarity, threshold).fill_null(False))
                notes.rows(f"less similar to what they repeat than the threshold {threshold:g}", window, here & less)

    def _counted(self, window: pa.RecordBatch) -> Bools:
        """Which rows left at a stage that counts clusters, for one that is counted."""
        kinds = pa.array([kind for kind in self._reasons if _counts_clusters(kind)], pa.string())
        here: Bools = mask(pc.is_in(window.column("stage"), kinds))
        return here & mask(pc.not_equal(window.column("reason"), IN_INDEX).fill_null(False))

    def _of_media(self, batch: pa.RecordBatch, only: Iterable[str | None]) -> Bools:
        found = np.zeros(batch.num_rows, bool)
        for media in only:
            found |= media is None or mask(pc.equal(batch.column("media"), media).fill_null(False))
        return found

    def _places(self, window: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """Where in the recipe each row left, [rows]. A kind may stand there once a media."""
        pairs = row_words(window, ("stage", "media")).dictionary_encode()
        words = (word.partition("\x1f") for word in pairs.dictionary.to_pylist())
        known = np.array([self._place(stage, media) for stage, _, media in words], np.int64)
        places: npt.NDArray[np.int64] = known[pairs.indices.to_numpy()]
        return places

    def _place(self, stage: str, media: str) -> int:
        here = {at: fields.get("only") for at, (kind, fields) in enumerate(self._settings) if kind == stage}
        own = [at for at, only in here.items() if only in (None, media)]
        return min([*own, *here, 0][0], _KEPT - 1)

    def _stood(self, ids: Numbers, after: npt.NDArray[Any], upto: int) -> Bools:
        """For which ids there is a record that left (or was kept) after one place, and not after another."""
        last = np.searchsorted(self._all_standing, _at(ids, np.full(len(ids), upto)), "right")
        stood: Bools = last > np.searchsorted(self._all_standing, _at(ids, after), "right")
        return stood

    @cached_property
    def _all_standing(self) -> Numbers:
        found = _joined(self._standing)
        self._standing.clear()
        found.sort()
        return found


def _sound(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stage that matter here, without those of a type that no recipe gives them."""
    types: dict[str, Any] = {"only": str, "verify": bool, "threshold": int | float}
    return {name: fields[name] for name, wanted in types.items() if isinstance(fields.get(name), wanted)}


def _counts_clusters(kind: str) -> bool:
    stage = STAGES.get(kind)
    return stage is not None and issubclass(stage, Meeting) and stage.counts_clusters


def _at(ids: Numbers, places: npt.NDArray[Any]) -> Numbers:
    """Hashes of ids with the place where each record left in their lowest bits: sorted, one id's records are
    neighbours, in the order in which they left.
    """
    return (ids & ~_WHERE) | places.astype(np.uint64)


def _joined(some: Iterable[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, np.uint64), *some])
