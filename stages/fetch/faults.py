"""Why a fetch brought nothing: one word for each cause, the same in tables, tests and the report."""

from __future__ import annotations

REASONS = {
    "disallowed": "robots.txt says no",
    "robots_unreachable": "robots.txt could not be had, which means no (RFC 9309, 2.3.1.4)",
    "private_address": "the name leads to an address that is not public",
    "bad_port": "a port that browsers refuse, too",
    "unresolved": "the name has no address",
    "connection_failed": "no connection, or one that broke before an answer",
    "tls_failed": "no TLS, or a certificate that does not hold",
    "timed_out": "no answer, or none to its end, in time",
    "protocol_error": "the answer is not HTTP",
    "http_error": "a status that is neither success nor redirect",
    "too_large": "more bytes than max_bytes",
    "short_body": "fewer bytes than announced",
    "empty_body": "no bytes",
    "undecodable_body": "not in the encoding that its header names",
    "bad_redirect": "a redirect to what may not be asked",
    "insecure_redirect": "a redirect out of https",
    "too_many_redirects": "more than five redirects",
    "host_refuses": "the host asks to wait longer than we can",
    "host_unreachable": "so many connections failed in a row that the host is left alone",
    "host_budget_spent": "max_requests_per_host",
    "host_time_spent": "seconds_per_host",
    "job_budget_spent": "max_requests",
}


class Fault(Exception):
    """One request, or all that were made for a URL, brought nothing.

    again: whether another try may do better; wait: seconds that the server asks for before it.
    """

    def __init__(self, reason: str, *, again: bool = False, wait: float = 0.0, status: int | None = None) -> None:
        assert reason in REASONS, reason
        super().__init__(reason)
        self.reason, self.again, self.wait, self.status = reason, again, wait, status
