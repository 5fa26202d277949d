"""A fixed pseudo-random number for each record, from where it stands, so that no sample or shuffle depends on order."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.dedup.clusters import mixed


def record_keys(batch: pa.RecordBatch, seed: str) -> npt.NDArray[np.uint64]:
    """Uniform over 64 bits, [rows]; from seed, shard, offset and ordinal. Equal places give equal keys."""
    shards = batch.column("shard").to_pylist()
    base = {shard: _start(f"{seed}\0{shard}") for shard in set(shards)}
    state = np.array([base[shard] for shard in shards], np.uint64)
    for name in ("offset", "ordinal"):
        state = mixed(state ^ batch.column(name).to_numpy(zero_copy_only=False).astype(np.uint64), 0)
    return state


def _start(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
