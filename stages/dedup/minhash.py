"""MinHash near-duplicates (Broder, 1997; Lee et al., 2022; Penedo et al., 2024, FineWeb, section 3.4)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt, model_validator

from stages.dedup.shingles import shingles
from stages.dedup.signature import pack, signatures
from stages.stage import Meeting, Reaches
from stages.text.texts import Texts

MOST_HASHES = 1024
"""Bands times rows: a signature of 8 KiB, longer than many texts."""

Count = Annotated[int, Field(ge=1, le=256)]
Place = Annotated[str, Field(min_length=1, pattern="^[^~]")]
"""A path or URL, written out."""


class MinHash(Meeting):
    """Drops texts that share most of their word n-grams with one that is kept.

    Words are runs of letters, digits and `_` in lower case, and each character of a script without spaces; nothing
    else of a text counts. A text with fewer words than `ngram` equals only texts of the same words; a text without
    words is kept and never compared.

    Two texts are compared when they share all `rows` values of one of `bands` bands, and everything so connected is a
    cluster. One text of a cluster stays, as `prefer` says. With `verify`, a text is dropped only where its Jaccard
    similarity to one that stays reaches `threshold`, counted exactly where the estimate is close: a chain of small
    changes does not swallow what its ends have in common with nobody. More than `bucket_cap` texts under one key are an
    alarm, not a limit.

    `against` names an index of earlier snapshots whose texts are duplicates' originals too (`duplicate_in_index`);
    `index` names one to which the texts that stay are added.
    """

    kind: Literal["minhash"] = "minhash"
    ngram: Annotated[int, Field(ge=1, le=100)] = 5
    bands: Count = 14
    rows: Count = 8
    verify: bool = False
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    bucket_cap: PositiveInt = 10_000
    against: Annotated[Place | None, Reaches("place read")] = None
    index: Annotated[Place | None, Reaches("place written")] = None
    counts_clusters: ClassVar[bool] = True
    reasons: ClassVar[tuple[str, ...]] = ("near_duplicate", "duplicate_in_index")

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        if self.hashes > MOST_HASHES:
            raise ValueError(f"bands * rows is {self.hashes:,}: at most {MOST_HASHES:,} hashes")
        if "threshold" in self.model_fields_set and not self.verify:
            raise ValueError("threshold decides nothing without verify: true")
        return self

    @property
    def hashes(self) -> int:
        """Values in a signature."""
        return self.bands * self.rows

    @property
    def least_similarity(self) -> float | None:
        return self.threshold if self.verify else None

    @property
    def emits(self) -> pa.Schema:
        return pa.schema(
            [
                pa.field("digest", pa.uint64()),  # of the words in order
                pa.field("shingles", pa.int64()),  # repeated ones counted
                pa.field("signature", pa.binary(8 * self.hashes)),  # null where there is no word
            ]
        )

    def emit(self, texts: Texts) -> pa.RecordBatch:
        found = shingles(texts, self.ngram)
        counts = np.diff(found.offsets)
        values = pack(signatures(found.offsets, found.hashes, self.hashes), counts > 0)
        return pa.RecordBatch.from_arrays([pa.array(found.digests), pa.array(counts), values], schema=self.emits)
