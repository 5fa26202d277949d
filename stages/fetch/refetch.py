"""Refetching: PDFs that the crawl cut off are asked for again where they came from (FinePDFs, "Refetching").

The stage says which records, from where, and with which manners; `stages.fetch` has what a visit is, and the meeting
(`pipeline.fetching`) brings all URLs of a host together, so that its limits hold wherever the records are read.
"""

from __future__ import annotations

import re
import ssl
from ipaddress import IPv6Address
from typing import Annotated, ClassVar, Literal

import httpx
import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from stages.fetch.address import Address
from stages.fetch.client import Client, Patience
from stages.fetch.guard import Guard, Resolver, system_resolver
from stages.fetch.politeness import Manners
from stages.fetch.robots import AGENT, MAX_AGE
from stages.filter.url import host_of
from stages.read.warc import MAX_PAYLOAD
from stages.stage import AssetPath, Meeting, Reaches
from stages.text.texts import Texts

WANTED = pa.schema(
    [
        pa.field("key", pa.uint64()),  # 64 bits of the host: what limits hold for
        pa.field("check", pa.uint64()),  # 64 bits of the URL
        pa.field("target", pa.string()),  # the URL as it is asked for
    ]
)
"""All null for a record that is not asked for."""
_CONTACT = re.compile(r"(?:mailto:)?[^\s@<>()\x00-\x1f\x7f]+@[^\s@<>()\x00-\x1f\x7f]+|https://[^\s<>()\x00-\x1f\x7f]+")


class Refetch(Meeting):
    """Fetches PDFs that the crawl has cut off from where they came from, once each, and goes on with what comes.

    Asked for are records whose PDF is `truncated` and whose URL is http or https without credentials. robots.txt is
    obeyed (RFC 9309). All limits hold for a host in the whole cluster: one request at a time and `delay_seconds`
    between two (a Crawl-delay of up to `max_crawl_delay`), growing waits after 429, 503 and other faults, and as long
    as Retry-After asks, up to `max_wait`. `contact`, an e-mail address or an https:// page, stands in the User-Agent.

    Where a fetch fails, or brings no PDF, the crawl's copy goes on, still marked as truncated. `earlier` names outputs
    of other jobs, whose bodies are taken before anybody is asked. `allow_hosts` (`host:port`) may have private
    addresses; `ca_file` adds an authority: both are for tests and demonstrations.
    """

    kind: Literal["refetch"] = "refetch"
    only: Literal["pdf"] = "pdf"
    prefer: Literal["first"] = "first"
    """Of no consequence: nobody leaves."""
    contact: str
    max_bytes: Annotated[int, Field(ge=1, le=MAX_PAYLOAD)] = MAX_PAYLOAD
    attempts: PositiveInt = 4
    delay_seconds: PositiveFloat = 1.0
    max_crawl_delay: PositiveFloat = 60.0
    concurrency_per_host: PositiveInt = 1
    max_requests_per_host: NonNegativeInt = 10_000
    seconds_per_host: PositiveFloat = 6 * 3600.0
    max_requests: NonNegativeInt = 1_000_000
    max_wait: PositiveFloat = 600.0
    connect_seconds: PositiveFloat = 20.0
    read_seconds: PositiveFloat = 30.0
    request_seconds: PositiveFloat = 300.0
    robots_max_age: Annotated[float, Field(gt=0, le=MAX_AGE)] = MAX_AGE
    allow_hosts: Annotated[tuple[str, ...], Reaches("host")] = ()
    ca_file: AssetPath | None = None
    earlier: Annotated[tuple[str, ...], Reaches("place read")] = ()

    needs_text: ClassVar[bool] = False

    @field_validator("contact")
    @classmethod
    def _reachable(cls, contact: str) -> str:
        if not (contact.isascii() and _CONTACT.fullmatch(contact)):
            raise ValueError("write an e-mail address, or the https:// address of a page about the crawl")
        return contact

    @field_validator("allow_hosts")
    @classmethod
    def _places(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        for place in places:
            _host_and_port(place)
        return places

    def load(self) -> None:
        self.tls()

    @property
    def emits(self) -> pa.Schema:
        return WANTED

    def emit(self, texts: Texts) -> pa.RecordBatch:
        """Where each record is to be asked for."""
        batch = texts.batch
        cut_off = batch.column("truncated").is_valid().to_pylist()
        urls = batch.column("url").to_pylist()
        addresses = [Address.of(url) if cut else None for url, cut in zip(urls, cut_off)]
        keys = np.array([address.keys if address else (0, 0) for address in addresses], np.uint64).reshape(-1, 2)
        absent = np.array([address is None for address in addresses], bool)
        columns = [*(pa.array(half.copy(), mask=absent) for half in keys.T)]
        columns.append(pa.array([address.url if address else None for address in addresses], pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=WANTED)

    @property
    def manners(self) -> Manners:
        return Manners(
            delay=self.delay_seconds,
            at_once=self.concurrency_per_host,
            longest_delay=self.max_crawl_delay,
            longest_wait=self.max_wait,
            requests=self.max_requests_per_host,
            seconds=self.seconds_per_host,
        )

    def tls(self) -> ssl.SSLContext:
        """What certificates are verified by. Raises ValueError where `ca_file` is none."""
        context = httpx.create_ssl_context(trust_env=False)
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"ca_file: {self.ca_file}: no certificate of an authority ({error})") from error
        return context

    def client(self, version: str, resolver: Resolver = system_resolver) -> Client:
        """Whoever asks for this stage."""
        guard = Guard(map(_host_and_port, self.allow_hosts), resolver)
        patience = Patience(self.connect_seconds, self.read_seconds, self.request_seconds)
        return Client(f"{AGENT}/{version} (+{self.contact})", guard, self.tls(), patience)


def _host_and_port(place: str) -> tuple[str, int]:
    """The parts of `host:port` or `[IPv6]:port`. Raises ValueError."""
    host, _, port = place.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError(f"{place!r}: write host:port, as in 127.0.0.1:8080")
    if host.startswith("["):
        return IPv6Address(host.strip("[]")).compressed, int(port)
    return host_of(host), int(port)
