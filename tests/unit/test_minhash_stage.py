"""The stage minhash: its fields, and what it emits of each text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from text_cases import STRINGS, texts_of

from stages.dedup.minhash import MinHash
from stages.dedup.shingles import shingles
from stages.dedup.signature import signatures, unpack

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom."


@settings(deadline=None)
@given(st.lists(STRINGS, max_size=6), st.integers(1, 6))
def test_one_row_for_each_text_and_no_signature_without_words(strings: list[str], ngram: int) -> None:
    texts = texts_of(strings)
    rows = MinHash(ngram=ngram, bands=3, rows=2).emit(texts)
    rows.validate(full=True)
    found = shingles(texts, ngram)
    counts = np.diff(found.offsets)
    assert rows.schema == MinHash(bands=3, rows=2).emits
    assert rows.column("digest").to_pylist() == found.digests.tolist()
    assert rows.column("shingles").to_pylist() == counts.tolist()
    assert rows.column("signature").is_valid().to_pylist() == (counts > 0).tolist()
    assert unpack(rows.column("signature").drop_null()).tolist() == (
        signatures(found.offsets, found.hashes, 6)[counts > 0].tolist()
    )


def test_a_text_emits_the_same_whatever_stands_beside_it() -> None:
    alone = MinHash().emit(texts_of([PROSE]))
    among = MinHash().emit(texts_of(["", "短い文", PROSE, PROSE * 40, "—"]))
    assert among.slice(2, 1).to_pylist() == alone.to_pylist()
    assert MinHash().emit(texts_of([PROSE.upper().replace(",", ";\n")])).to_pylist() == alone.to_pylist()


@pytest.mark.parametrize(
    "fields, width",
    [({}, 896), ({"bands": 32, "rows": 10, "only": "pdf"}, 2560), ({"bands": 256, "rows": 4}, 8192)],
)
def test_the_signature_is_as_wide_as_the_fields_say(fields: dict[str, object], width: int) -> None:
    assert MinHash.model_validate(fields).emits.field("signature").type == pa.binary(width)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"bands": 0}, "greater than or equal to 1"),
        ({"rows": 257}, "less than or equal to 256"),
        ({"bands": 256, "rows": 5}, "bands \\* rows is 1,280: at most 1,024"),
        ({"threshold": 0.0}, "greater than 0"),
        ({"threshold": 0.9}, "threshold decides nothing without verify"),
        ({"threshold": 1.01}, "less than or equal to 1"),
        ({"threshold": float("nan")}, "threshold"),
        ({"ngram": 0}, "greater than or equal to 1"),
        ({"ngram": 10**30}, "less than or equal to 100"),
        ({"index": ""}, "at least 1 character"),
        ({"against": "~/index"}, "pattern"),
        ({"prefer": "best"}, "first"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MinHash.model_validate(fields)
