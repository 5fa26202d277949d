"""Personal data of two kinds that a pattern can find: e-mail addresses and public IP addresses (FineWeb's last step).

Each is replaced by an address that is reserved for documentation, so that no reader and no model can reach anybody by
it. Names, telephone numbers, postal addresses, addresses spelt out ("joe at example") and those beyond ASCII (RFC 6531)
are not looked for.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.stage import DEPARTED, BatchStage, Outcome, nobody, with_column
from stages.text.pages import ends_after_replacing

StandIns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Find = Callable[[str], Iterator[tuple[int, int, str]]]
"""A text -> start, end and identity of each address in it, in order, not overlapping."""

MAX_LOCAL, MAX_DOMAIN, MAX_LABEL = 64, 253, 63  # RFC 5321, 4.5.3.1.1; RFC 1035, 2.3.4 (253 without the length bytes)
PUNCTUATION = "!#$%&'*+/=?^_`{|}~-."  # what a local part may hold beside letters and digits (RFC 5322, 3.2.3)
LOCAL = string.ascii_letters + string.digits + PUNCTUATION
URL_SIGNS = re.compile(r"[!#$%&*/=?^`{|}~]")  # those of them that are rare in names and common in URLs
AT = re.compile(r"(?<=[A-Za-z0-9_!#$%&'*+/=?^`{|}~-])@(?=[A-Za-z0-9])")
# Labels of letters, digits and inner hyphens (RFC 1123, 2.1) with single dots. Possessive: it never steps back.
DOMAIN = re.compile(r"[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*+(?:\.[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*+)*+")
TOP_LEVEL = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9-]{2,63}")  # never all digits (RFC 3696, section 2): "lodash@4.17.21"

# Four numbers that are not part of a word (v1.2.3.4b) or of a longer row of numbers (1.2.3.4.5).
IPV4 = re.compile(r"(?<![A-Za-z0-9_])(?<![0-9]\.)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![A-Za-z0-9_]|\.[0-9])")
# A row of hexadecimal digits and colons. It may follow a colon ("IP:2001:…"), not a word ("std::").
IPV6 = re.compile(r"(?<![A-Za-z0-9_.])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]*+(?![A-Za-z0-9_]|\.[0-9])")
UNICAST = IPv6Network("2000::/3")  # all that IANA has given out as global unicast (RFC 4291, 2.4; RFC 3587)
"""`IPv6Address.is_global` alone also takes `bad::cafe` for an address."""

# What any text with an address holds, for RE2 to look for in whole columns.
MAYBE_IP = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:"


class Pii(BatchStage):
    """Replaces e-mail addresses and IP addresses in `text`; drops nothing.

    Within a document the same address keeps the same stand-in, and different addresses take the stand-ins in turn;
    every document starts with the first one. (FineWeb's step takes the next one at every occurrence and across
    documents, so that its output depends on what it saw before.) A stand-in found in a text is left alone: the stage is
    idempotent.

    With `public_only`, IP addresses are replaced where they are globally reachable (IANA special-purpose registries, by
    `ipaddress`) and, for IPv6, within 2000::/3. Four small numbers with dots (a section 1.2.3.4) look like an address
    and are replaced as well.

    The stand-ins are reserved for documentation: they belong to nobody, for ever. FineWeb took public IPv4 addresses
    that happened not to answer.
    """

    kind: Literal["pii"] = "pii"
    emails: bool = True
    ips: bool = True
    public_only: bool = True
    email_replacements: StandIns = (  # RFC 2606, section 3
        "someone@example.com",
        "somebody@example.org",
        "anybody@example.net",
    )
    ipv4_replacements: StandIns = (  # RFC 5737: TEST-NET-1, -2 and -3
        "192.0.2.1",
        "198.51.100.2",
        "203.0.113.3",
    )
    ipv6_replacements: StandIns = (  # RFC 3849
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::3",
    )

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Every row is kept, with its `text` edited; texts without an address are passed on untouched."""
        text, ends = batch.column("text"), batch.column("page_ends")
        suspects = pc.fill_null(self._suspects(text), False)
        if pc.any(suspects).as_py():
            rows = zip(text.filter(suspects).to_pylist(), ends.filter(suspects).to_pylist())
            edited = [self._edited(*row) for row in rows]
            texts = pa.array([text for text, _ in edited], text.type)
            batch = with_column(batch, "text", pc.replace_with_mask(text, suspects, texts))
            if ends.null_count < len(ends):
                moved = iter(ends for _, ends in edited)
                mixed = [next(moved) if edit else old for edit, old in zip(suspects.to_pylist(), ends.to_pylist())]
                batch = with_column(batch, "page_ends", mixed)
        return Outcome(batch, nobody(DEPARTED), nobody(DEPARTED))

    def edit(self, text: str) -> str:
        """One text with its addresses replaced. Linear in its length, whatever it holds."""
        return self._edited(text, None)[0]

    def _edited(self, text: str, page_ends: list[int] | None) -> tuple[str, list[int] | None]:
        """The text, and where its pages end now."""
        finders: list[tuple[Find, tuple[str, ...]]] = []
        if self.emails:
            finders.append((find_emails, self.email_replacements))
        if self.ips:
            finders.append((partial(find_ipv4, public_only=self.public_only), self.ipv4_replacements))
            finders.append((partial(find_ipv6, public_only=self.public_only), self.ipv6_replacements))
        for find, stand_ins in finders:
            found = list(replacements(text, find, stand_ins))
            if page_ends is not None:
                page_ends = ends_after_replacing(page_ends, [(start, end, len(new)) for start, end, new in found])
            text = replaced(text, found)
        return text, page_ends

    def _suspects(self, text: pa.Array) -> pa.BooleanArray:
        email = pc.match_substring(text, "@") if self.emails else False
        ip = pc.match_substring_regex(text, MAYBE_IP) if self.ips else False
        return pc.or_(pc.and_(pc.is_valid(text), email), ip)


def replacements(text: str, find: Find, stand_ins: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """Start, end and stand-in of each address to be replaced: the n-th distinct identity's is the n-th (in turn)."""
    given = dict[str, str]()
    # An e-mail stand-in is known by its end: the text before it may look like more of its local part.
    own = tuple(s for s in stand_ins if "@" in s)
    for start, end, identity in find(text):
        if not (text[start:end] in stand_ins or text[start:end].endswith(own)):
            yield start, end, given.setdefault(identity, stand_ins[len(given) % len(stand_ins)])


def replaced(text: str, found: Iterable[tuple[int, int, str]]) -> str:
    """The text with these pieces of it replaced."""
    pieces, done = [], 0
    for start, end, stand_in in found:
        pieces += [text[done:start], stand_in]
        done = end
    return "".join([*pieces, text[done:]])


def find_emails(text: str) -> Iterator[tuple[int, int, str]]:
    """Addresses `local@domain` (RFC 5321, 4.1.2, without quoted local parts and domain literals).

    Each `@` is looked for first and its surroundings then, which keeps hostile texts linear: a domain never runs past
    the next `@`, and a local part is at most 64 characters.
    """
    done = 0
    for at in AT.finditer(text):
        run = DOMAIN.match(text, at.end())
        local = local_part(text[max(done, at.start() - MAX_LOCAL - 1) : at.start()])
        domain = domain_name(run[0]) if run else ""
        if run and local and domain:
            start, end = at.start() - len(local), at.end() + len(domain)
            # Not `end`: were the next local part to begin in the rest of this run, its stand-in would prolong this
            # domain.
            done = run.end()
            yield start, end, text[start:end].lower()


def local_part(before: str) -> str:
    """The longest local part that ends the 65 characters before an `@`, or "".

    It begins with a letter or digit, for quotes and mark-up often touch an address. Where it would be over 64
    characters the address is probably part of a URL, and it begins behind the last sign of one.
    """
    local = before[len(before.rstrip(LOCAL)) :].rpartition("..")[2].lstrip(PUNCTUATION)
    if len(local) > MAX_LOCAL:
        _, *behind = URL_SIGNS.split(local)
        return behind[-1].lstrip(PUNCTUATION) if behind else ""
    return local


def domain_name(run: str) -> str:
    """The domain of two labels or more at the start of a run of labels, or "" where there is none or it is too long."""
    labels = run.split(".") if len(run) <= MAX_DOMAIN else []
    while labels and not TOP_LEVEL.fullmatch(labels[-1]):
        labels.pop()  # a footnote or the number of the next sentence
    return ".".join(labels) if len(labels) > 1 and max(map(len, labels)) <= MAX_LABEL else ""


def find_ipv4(text: str, public_only: bool) -> Iterator[tuple[int, int, str]]:
    """Dotted quads without leading zeros (RFC 6943, 3.1.1, on why those mean nothing); perhaps only the public ones."""
    for match in IPV4.finditer(text):
        try:
            address = IPv4Address(match[0])
        except ValueError:
            continue
        if not public_only or (address.is_global and not address.is_multicast):
            yield match.start(), match.end(), match[0]


def find_ipv6(text: str, public_only: bool) -> Iterator[tuple[int, int, str]]:
    """Addresses in any form of RFC 4291, 2.2 without an IPv4 tail; perhaps only the public ones.

    Times, MAC addresses and scopes (`std::`) are none. Where private ones count as well, `::` without a digit does not.
    """
    for match in IPV6.finditer(text):
        start, end = match.span()
        start += trailing_colon(match[0][::-1])
        end -= trailing_colon(match[0])
        candidate = text[start : min(end, start + 40)]  # 39 characters are the longest form
        if candidate.count(":") < 2:
            continue
        try:
            address = IPv6Address(candidate)
        except ValueError:
            continue
        public = address in UNICAST and address.is_global
        if public or (not public_only and any(map(str.isdigit, candidate))):
            yield start, end, address.compressed


def trailing_colon(run: str) -> bool:
    """Whether a run ends in a single colon, which belongs to the sentence."""
    return run.endswith(":") and not run.endswith("::")
