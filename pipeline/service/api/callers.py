"""How a request says who asks: a bearer token, or the cookie of a browser that was given one.

The cookie holds the token itself. A session of our own would need a table and a clock of its own, and be worth as much
to a thief; this way a revoked token ends every browser's session with it, and the database holds nothing that lets
anybody in. Scripts cannot read it (HttpOnly), other sites cannot send it (SameSite=Strict), it goes over https alone
where that is spoken (Secure), and it ends with the browser. Browsers send cookies unasked, so whatever changes
something must also say that it comes from our own pages (Fetch Metadata's Sec-Fetch-Site, or Origin).
"""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from pipeline.service.api.problems import Problem
from pipeline.service.cluster import is_loopback
from pipeline.service.service import Service
from pipeline.service.tokens import LOCAL, Caller, Role

COOKIE = "crawlmill"
SECURE_COOKIE = "__Host-crawlmill"
"""Browsers take a cookie of this name over https alone, and from no other host of the same domain (RFC 6265bis)."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""What this machine calls itself, and no page of a stranger's domain that was pointed at it (DNS rebinding) does."""
PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Headers by which a proxy says that somebody else is asking."""
NEEDED = "put a token into CRAWLMILL_TOKEN (header Authorization: Bearer …); `crawlmill token create NAME` makes one"


def presented(connection: HTTPConnection) -> tuple[str, bool] | None:
    """The token that a request comes with, and whether a browser sent it by itself; None without one."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip(), False
    cookie = connection.cookies.get(SECURE_COOKIE)
    if cookie is None and connection.url.scheme != "https":
        cookie = connection.cookies.get(COOKIE)
    return (cookie, True) if cookie else None


def remember(request: Request, response: Response, token: str) -> None:
    """Have the browser send the token from now on. Only for a token that was found to be somebody's."""
    secure = _over_https(request)
    name = SECURE_COOKIE if secure else COOKIE
    response.set_cookie(name, token, path="/", secure=secure, httponly=True, samesite="strict")


def forget(request: Request, response: Response) -> None:
    """End the browser's session."""
    for name in (SECURE_COOKIE, COOKIE):
        secure = name == SECURE_COOKIE or _over_https(request)
        response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")


def _over_https(request: Request) -> bool:
    """Whether the browser spoke https, be it to a proxy that we were told nothing of: its page's origin says so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").lower().startswith("https://")


def caller_of(request: Request) -> Caller:
    """Who asks (found out by `pipeline.service.api.gate`). Raises Problem for somebody who may not."""
    found = request.scope["caller"]
    if isinstance(found, Problem):
        raise found
    assert isinstance(found, Caller)
    return found


def submitter_of(request: Request) -> Caller:
    """Who asks, if they may submit. Raises Problem."""
    caller = caller_of(request)
    if caller.role != Role.SUBMIT:
        raise Problem(403, f"token {caller.name} may read only; this needs one with the role submit", "role")
    return caller


def must_be_of(caller: Caller, team: str, what: str) -> None:
    """Raises Problem where something belongs to another team."""
    if caller.team != team:
        raise Problem(403, f"{what} belongs to team {team}; token {caller.name} is of team {caller.team}", "team")


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def own_origin(connection: HTTPConnection) -> bool | None:
    """Whether a browser says that a request comes from a page of ours; None where it says nothing."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin, host = connection.headers.get("origin"), connection.headers.get("host", "").lower()
    if origin is None:
        return None
    return bool(host) and origin.lower() in (f"http://{host}", f"https://{host}")


def from_here(connection: HTTPConnection) -> bool:
    """Whether a request comes from this machine itself, as far as anybody can see, to a name that only it has."""
    if any(header in connection.headers for header in PASSED_ON):
        return False
    if connection.client is None or not is_loopback(connection.client.host):
        return False
    try:
        host = urlsplit(f"//{connection.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return host in HOSTS


def share_of(connection: HTTPConnection, found: Caller | Problem | None) -> str:
    """Whose share of a limit a request takes: a token that is known has its own, all others have their address's."""
    if isinstance(found, Caller) and found != LOCAL:
        return f"token {found.name}"
    return network_of(connection.client.host if connection.client else "")


def network_of(host: str) -> str:
    """An address as limits count it: of IPv6 the /64, which is what one customer is given."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))


ServiceHere = Annotated[Service, Depends(service_of)]
Reader = Annotated[Caller, Depends(caller_of)]
Submitter = Annotated[Caller, Depends(submitter_of)]
BEARER = Depends(HTTPBearer(auto_error=False, scheme_name="token", description="`crawlmill token create NAME`"))
"""Checks nothing; it has the OpenAPI document say how a caller is known."""
