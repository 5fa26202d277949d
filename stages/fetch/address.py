"""Addresses that may be asked: http and https URLs in the one form in which they are sent, compared and known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urljoin, urlsplit

from stages.filter.url import host_of

PORTS = {"http": 80, "https": 443}  # RFC 9110, 4.2
MAX_URL = 4_096
"""Characters. RFC 9110, 4.1, asks for 8,000 octets at least; crawls hold no URL of more than 2,048."""
_UNSENDABLE = re.compile(r"[^\x21-\x7e]+")  # RFC 9112, 3.2: a request target has no white space; nor has a URL
_OCTETS = re.compile(r"[\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Address:
    """Where one GET goes. Fragments and dot segments are gone, a default port is not written, nothing else is changed.

    So robots.txt is matched against the path that the server will see, or would make of what it sees.
    """

    scheme: str
    host: str
    """In lower-case ASCII; an IPv6 address without brackets."""
    port: int
    target: str
    """Path and query, percent-encoded where they must be."""

    @classmethod
    def of(cls, url: str | None) -> Address | None:
        """The address of a URL; None where it is none that may be asked: another scheme, credentials, no host, too
        long, or nothing that can be parsed.
        """
        try:
            parts = urlsplit((url or "").strip())
            host, port = host_of(parts.hostname or ""), parts.port
        except ValueError:
            return None
        if parts.scheme not in PORTS or not host or "@" in parts.netloc or port == 0:
            return None
        target = _without_dots(parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target = _UNSENDABLE.sub(lambda found: "".join(f"%{byte:02X}" for byte in _utf8(found[0])), target)
        found = cls(parts.scheme, host, port or PORTS[parts.scheme], target)
        return found if len(found.url) <= MAX_URL else None

    @property
    def authority(self) -> str:
        """As in a Host header (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What a robots.txt is for (RFC 9309, 2.3)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        return self.origin + self.target

    @property
    def keys(self) -> tuple[int, int]:
        """64 bits of the host, which is what limits hold for, and 64 bits of the URL."""
        return host_key(self.host), _digest(self.url)

    def at(self, target: str) -> Address:
        """Another path of the same origin."""
        return Address(self.scheme, self.host, self.port, target)

    def followed(self, location: str) -> Address | None:
        """Where a redirect from here leads (RFC 9110, 10.2.2); None where that may not be asked. location: the field's
        bytes, each a character. Those that are not ASCII are sent back as they came, whatever charset they are in.
        """
        encoded = _OCTETS.sub(lambda octet: f"%{ord(octet[0]):02X}", location)
        try:
            return Address.of(urljoin(self.url, encoded))
        except ValueError:
            return None


def host_key(host: str) -> int:
    """64 bits of a host's name."""
    return _digest(host)


def _without_dots(path: str) -> str:
    """A path that begins with a slash, without dot segments (RFC 3986, 5.2.4), also those written `%2e` (6.2.2.2)."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    if plain in (".", ".."):
        kept.append("")  # what is left is a folder
    return "/" + "/".join(kept)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
