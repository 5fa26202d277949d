"""Fetched bodies: WARC resource records, one gzip member each, and how they come back to the records that want them.

A member is read by its place alone and by the reader that reads crawls, so that any WARC tool can read the file too.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pyarrow as pa

from pipeline.emission import documents
from pipeline.faults import StoreError
from pipeline.store import Store
from stages.read.events import WarcRecord
from stages.read.fields import media_type
from stages.read.recognise import UnreadableInput
from stages.read.warc import read_warc
from stages.stage import of_media, with_column

ANSWERS = pa.schema(
    [
        pa.field("doc", pa.uint64()),
        pa.field("body_file", pa.string()),
        pa.field("body_offset", pa.int64()),
        pa.field("body_length", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("truncated", pa.string()),
    ]
)
"""What a record gets: the place of a body. Records that nothing is said of keep what they have."""
WINDOW_BYTES = 32 * 2**20
"""Of fetched bodies that are held at once, unless one alone has more; `pipeline.carry` holds two windows."""
_LEVEL = 1  # PDFs are compressed already
_UNKNOWN = "application/octet-stream"
_MESSAGE = "application/http"
"""A record of this type is read as an HTTP message: a body that poses as one would not come back as it was stored."""


@dataclass(frozen=True)
class BodyPlace:
    """A gzip member of a file."""

    body_file: str
    body_offset: int
    body_length: int


def body_member(url: str, date: str, content_type: str | None, body: bytes) -> bytes:
    """One WARC record (WARC 1.1, 6.4, "resource": the body alone, as decoded), packed."""
    digest = base64.b32encode(hashlib.sha1(body).digest()).decode()
    said = content_type or _UNKNOWN
    fields = {
        "WARC-Type": "resource",
        "WARC-Record-ID": f"<urn:uuid:{uuid5(NAMESPACE_URL, f'{date} {url}')}>",
        "WARC-Date": date,
        "WARC-Target-URI": url,
        "WARC-Payload-Digest": f"sha1:{digest}",
        "Content-Type": _UNKNOWN if media_type(said) == _MESSAGE else said,
        "Content-Length": str(len(body)),
    }
    lines = [f"{name}: {' '.join(value.split())}" for name, value in fields.items()]  # strangers wrote some of them
    head = "\r\n".join(["WARC/1.1", *lines, "", ""])
    packed = head.encode("utf-8", "replace") + body + b"\r\n\r\n"
    return gzip.compress(packed, _LEVEL, mtime=0)


def read_body(store: Store, place: BodyPlace, sha256: str) -> bytes:
    """A body. Raises StoreError, also where it is not the one that was stored."""
    with store.open_read(place.body_file) as stream:
        stream.seek(place.body_offset)
        member = stream.read(place.body_length)
    with suppress(UnreadableInput):
        for event in read_warc(io.BytesIO(member)):
            if isinstance(event, WarcRecord) and hashlib.sha256(event.payload).hexdigest() == sha256:
                return event.payload
    what = f"no body with sha256 {sha256} at byte {place.body_offset}"
    raise StoreError(f"{store.root}/{place.body_file}: {what}; remove .work and fetch and run again to ask anew")


def with_bodies(
    store: Store, shard: int, found: pa.RecordBatch, media: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A shard's records in order, those of `media` that were fetched with the fetched payload and what is still missing
    of it, in batches of WINDOW_BYTES of such payloads. found: its ANSWERS, by document. Raises StoreError.
    """
    docs, sizes = found.column("doc").to_numpy(), found.column("bytes").to_numpy()
    met = 0
    for batch in batches:
        here = of_media(batch, media).to_numpy(zero_copy_only=False)
        wanted = documents(shard, int(here.sum()), met)
        met += len(wanted)
        rows = np.full(batch.num_rows, -1)
        if len(docs):
            at = np.minimum(np.searchsorted(docs, wanted), len(docs) - 1)
            rows[here] = np.where(docs[at] == wanted, at, -1)
        fetched = np.cumsum(np.where(rows < 0, 0, sizes[rows]) if len(docs) else np.zeros(batch.num_rows))
        start = 0
        while start < batch.num_rows:
            base = fetched[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(fetched, base + WINDOW_BYTES, "right")))
            yield _replaced(store, batch.slice(start, end - start), found, rows[start:end])
            start = end


def _replaced(
    store: Store, batch: pa.RecordBatch, found: pa.RecordBatch, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> pa.RecordBatch:
    if (rows < 0).all():
        return batch
    payloads, truncated = batch.column("payload").to_pylist(), batch.column("truncated").to_pylist()
    for at in np.flatnonzero(rows >= 0).tolist():
        answer = found.slice(int(rows[at]), 1).to_pylist()[0]
        if answer["truncated"] is not None and answer["bytes"] < len(payloads[at] or b""):
            continue  # of two files that are cut off, the longer
        place = BodyPlace(answer["body_file"], answer["body_offset"], answer["body_length"])
        payloads[at], truncated[at] = read_body(store, place, answer["sha256"]), answer["truncated"]
    return with_column(with_column(batch, "payload", payloads), "truncated", truncated)
