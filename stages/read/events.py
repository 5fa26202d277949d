"""What reading a WARC file tells: records, records passed over, and damage. Plain values; the reading is in `warc`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """A response, resource or conversion record. (offset, ordinal) tells it from all others of its file."""

    offset: int
    """Bytes into the file of the gzip member or zstd frame that the record starts in; of itself when uncompressed."""
    ordinal: int
    """Position among the records, of any type, that start in that member; 0 when uncompressed."""
    type: str
    id: str
    """WARC-Record-ID word for word. Where it is missing, "<urn:sha1:HEX>" over "OFFSET:ORDINAL:" and the payload."""
    url: str
    """WARC-Target-URI without the angle brackets that wget puts around it; "" when missing."""
    date: str
    mime: str
    """Media type that the HTTP header declares, or else WARC's own Content-Type; "" when missing."""
    identified: str
    """WARC-Identified-Payload-Type, or ""."""
    charset: str | None
    """Of the declared type, as written."""
    status: int | None
    truncated: str | None
    """WARC-Truncated, the reason why the crawler stopped reading; `short_body` where it does not say so and the payload
    is shorter than the server declared.
    """
    payload: bytes
    """Without transfer and content encodings; empty where there is a fault."""
    fault: str | None
    """Why the payload could not be decoded: "payload_too_large" or "undecodable_payload"."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record of a type that holds no payload of its own; an unknown type under its own name, a missing one as ""."""

    offset: int
    type: str


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of the file that belong to no record given out.

    Exact between members and in files that are not compressed. Within a member that holds several records it is
    counted in the bites that the decoder takes: junk between two good records may measure 0 bytes, and a member that
    breaks loses the whole bite in which it did.
    """

    offset: int
    length: int
    cause: str


Event = WarcRecord | Skipped | Damage
