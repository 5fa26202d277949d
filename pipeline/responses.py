"""What an HTTP response tells of the file behind it, and which faults of a connection no further try will mend."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass

import httpx

from pipeline.patience import whole_number

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


@dataclass(frozen=True)
class FileVersion:
    """What tells one state of a file from another. None is silence and contradicts nothing."""

    etag: str | None = None
    modified: str | None = None
    length: int | None = None

    @classmethod
    def of(cls, response: httpx.Response) -> FileVersion:
        head = response.headers
        length = None
        if response.status_code == 206:
            length = whole_number(head.get("content-range", "").rpartition("/")[2])
        elif "transfer-encoding" not in head:  # which overrides a length, RFC 9112, section 6.3
            length = whole_number(head.get("content-length", ""))
        return cls(head.get("etag"), head.get("last-modified"), length)

    def contradicts(self, other: FileVersion) -> bool:
        pairs = (self.etag, other.etag), (self.modified, other.modified), (self.length, other.length)
        return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)

    @property
    def if_range(self) -> dict[str, str]:
        """The header that asks for a part of this version only. RFC 9110, section 13.1.5: it takes no weak tag."""
        return {"If-Range": self.etag} if self.etag is not None and self.etag.startswith('"') else {}


def first_byte(response: httpx.Response) -> int | None:
    """Where the part begins that a 206 gives (RFC 9110, section 14.4); None where it does not say so clearly."""
    match = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
    return int(match[1]) if match else None


def is_hopeless(error: BaseException | None) -> bool:
    """Will trying again not help: a name that does not exist, a certificate that does not hold?"""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError | httpx.UnsupportedProtocol):
            return True
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
            return True
        error = error.__cause__ or error.__context__
    return False
