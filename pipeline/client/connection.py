"""The way to a service: one request and its answer, and everything that can be wrong with either, in one line.

A request is repeated only where that cannot do a thing twice: when it never arrived, was put off (429, 503), or when
the caller says that twice is as good as once. What the requests mean is `pipeline.client.client`'s.
"""

from __future__ import annotations

import itertools
import json
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from pipeline import __version__
from stages.fetch.politeness import retry_after

DEFAULT_SERVER = "http://127.0.0.1:8321"
API = "/api/v1"
MAX_BODY = 64 * 2**20
SILENCE_SECONDS = 60.0
"""A connection is lost when nothing came for so long; of a stream the service says something every 15 s."""
_TIMEOUT = httpx.Timeout(SILENCE_SECONDS, connect=10)


@dataclass(frozen=True)
class Waits:
    """How long requests are repeated, in seconds."""

    connect: float = 3.0
    """To a service that may be about to start, before it counts as not there."""
    answer: float = 60.0
    """Where they were put off, or an answer was lost."""


WAITS = Waits()


class ServiceError(RuntimeError):
    """What the service, or the way to it, did wrong. One line.

    ServiceError
    ├── Refused      it does not take what was asked, and would not the next time
    └── Unavailable  it may do so the next time
    """


class Refused(ServiceError):
    """status: HTTP's; 0 where the service was not asked."""

    def __init__(self, line: str, status: int = 0) -> None:
        super().__init__(line)
        self.status = status


class Unavailable(ServiceError):
    """reached: something answered; arrived: what was asked may have been done; wait: seconds, as the service asks."""

    def __init__(self, line: str, *, reached: bool, arrived: bool, wait: float = 0.0) -> None:
        super().__init__(line)
        self.reached, self.arrived, self.wait = reached, arrived, wait


class Connection:
    """Requests to the service at `server`, an http:// or https:// URL whose path, if any, comes before /api.

    tell: gets a line where something takes longer. Raises Refused for a server or token that cannot be one.
    """

    def __init__(self, server: str, token: str | None, tell: Callable[[str], None], waits: Waits) -> None:
        url = _checked(server)
        self.server = str(url).rstrip("/")
        headers = {"User-Agent": f"crawlmill/{__version__}", "Accept": "application/json, application/problem+json"}
        token = (token or "").strip()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Refused("CRAWLMILL_TOKEN: holds no token; `crawlmill token create NAME` makes one")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._has_token, self._tell, self._waits = bool(token), tell, waits
        here = url.host in ("127.0.0.1", "localhost", "::1")  # no proxy stands between two processes of one machine
        trust = httpx.create_ssl_context() if url.scheme == "https" else False
        # a connection each: one that was kept may have ended at the other side, unseen, when the next request takes it
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(headers=headers, timeout=_TIMEOUT, limits=limits, trust_env=not here, verify=trust)

    def close(self) -> None:
        self._http.close()

    def document(self, path: str, method: str = "GET", **request: Any) -> Any:
        """What the JSON of an answer says. Raises ServiceError, and takes what `ask` takes."""
        body = self.ask(path, method, **request)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self.stranger(f"{method} {path} with something that is not JSON") from error

    def ask(self, path: str, method: str = "GET", *, again: bool | None = None, **request: Any) -> bytes:
        """The answer to a request. again: is twice as good as once? None: reading is. Raises ServiceError."""
        safe = method == "GET" if again is None else again
        spent = 0.0
        for tries in itertools.count():
            try:
                with self._opened(path, method, **request) as answer:
                    return _whole(answer)
            except Unavailable as fault:
                pause = max(fault.wait, min(8.0, 0.5 * 2**tries) * random.uniform(0.8, 1.0))
                patience = self._waits.answer if fault.reached else self._waits.connect
                if (fault.arrived and not safe) or spent + pause > patience:
                    raise
                if fault.reached:
                    self._tell(f"{fault}; asking again in {pause:.0f} s")
                spent += pause
                time.sleep(pause)
        raise AssertionError("the loop ends by return or raise")

    @contextmanager
    def stream(self, path: str, kind: str, headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """The bytes of an answer of type `kind` as they come; none where there is nothing to say.

        Raises ServiceError, also while they are read.
        """
        with self._opened(path, "GET", headers={"Accept": kind, **headers}) as answer:
            if answer.status_code == 204:
                yield iter(())
                return
            if not answer.headers.get("content-type", "").startswith(kind):
                raise self.stranger(f"GET {path} with something that is not {kind}")
            yield answer.iter_bytes()

    def stranger(self, answered: str) -> Refused:
        """What to raise where something else than this version's API answers."""
        return Refused(
            f"{self.server} is no crawlmill of this version: it answered {answered}; name the service with --server"
        )

    @contextmanager
    def _opened(self, path: str, method: str, **request: Any) -> Iterator[httpx.Response]:
        """An answer that is no error, its body not yet read."""
        try:
            with self._http.stream(method, f"{self.server}{API}{path}", **request) as answer:
                if answer.status_code >= 300:
                    raise self._refusal(answer.status_code, answer.headers, _whole(answer))
                yield answer
        except httpx.TransportError as error:
            raise self._fault(error) from error
        except (httpx.DecodingError, httpx.InvalidURL, _TooLarge) as error:
            raise ServiceError(f"{self.server}: its answer cannot be read: {error}") from error

    def _refusal(self, status: int, headers: httpx.Headers, body: bytes) -> ServiceError:
        """What an answer that is an error says."""
        if status < 400:
            elsewhere = headers.get("location", "nowhere")
            return Refused(f"{self.server} sends elsewhere, to {elsewhere}; name the service itself with --server")
        said = _detail(headers, body)
        if status in (429, 503) or (said is None and status in (502, 504)):
            wait = retry_after(headers.get("retry-after", ""), time.time())
            what = said or f"{self.server} answers {status}: the service behind it is not there at the moment"
            return Unavailable(what, reached=True, arrived=status in (502, 504), wait=wait)
        if said is None:
            return self.stranger(f"with status {status}")
        if status >= 500:
            return ServiceError(said)
        if status in (401, 403) and "CRAWLMILL_TOKEN" not in said:
            token = "another token" if self._has_token else "a token"
            said = f"{said.rstrip('.')}; put {token} into CRAWLMILL_TOKEN; `crawlmill token create NAME` makes one"
        return Refused(said, status)

    def _fault(self, error: httpx.TransportError) -> ServiceError:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                why = f"its certificate does not hold ({cause.verify_message})"
                return Refused(f"{self.server}: {why}; SSL_CERT_FILE names the certificate of its authority")
            if isinstance(cause, ssl.SSLError):
                why = (cause.reason or "no reason given").replace("_", " ").lower()
                return Refused(f"{self.server}: TLS does not come about ({why}); is it http:// there?")
        why = " ".join(str(error).split()) or "nothing came"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
            what = f"no service at {self.server}{'' if refused else f' ({why})'}"
            next_step = "start one with `crawlmill serve`, or name another with --server"
            return Unavailable(f"{what}; {next_step}", reached=False, arrived=False)
        what = "took too long" if isinstance(error, httpx.TimeoutException) else "broke off"
        return Unavailable(f"{self.server}: its answer {what} ({why})", reached=True, arrived=True)


class _TooLarge(ValueError):
    """An answer beyond MAX_BODY."""


def _checked(server: str) -> httpx.URL:
    """A server's URL. Raises Refused."""
    try:
        url = httpx.URL(server.strip())
    except httpx.InvalidURL as error:
        raise Refused(f"--server {server}: not a URL ({error}); write it as in {DEFAULT_SERVER}") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        given = "" if url.userinfo else f" {server}"
        raise Refused(f"--server{given}: write it as in {DEFAULT_SERVER}; a secret goes into CRAWLMILL_TOKEN alone")
    return url


def _whole(answer: httpx.Response) -> bytes:
    """An answer's body. Raises _TooLarge."""
    pieces, size = [], 0
    for piece in answer.iter_bytes():
        size += len(piece)
        if size > MAX_BODY:
            raise _TooLarge(f"more than {MAX_BODY} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _detail(headers: httpx.Headers, body: bytes) -> str | None:
    """The line of a problem document (RFC 9457); None where the answer is none."""
    if not headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(problem, dict):
        return None
    return " ".join(str(problem.get("detail") or problem.get("title") or "refused").split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
