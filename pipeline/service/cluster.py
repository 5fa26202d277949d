"""Ray's job server, spoken to over HTTP: jobs are submitted, asked after, stopped, and nodes listed.

The service never imports ray: a server that hangs costs a request its time-out here, nothing else. The API is Ray's own
(docs.ray.io, Ray Jobs REST API, and the two addresses that its dashboard reads the cluster from). The token is looked
for where Ray looks for it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

TIMEOUT = httpx.Timeout(20, connect=5)
SUBMITTING = httpx.Timeout(120, connect=5)
"""The job server answers when the job's supervisor is placed, which may start a process first."""
MAX_LOG = 4 * 2**20
"""Bytes of a log's end, as JSON, that are handed on."""
LOG_SECONDS = 8.0
"""Somebody waits for it before a screen."""
_WHOLE = re.compile(rb"[^\\](?=\\[^u])|[ -\[\]-~]{6}")
"""Bytes of a JSON string after which no escape and no character goes on: the first of some backslashes begins one, and
none has six bytes without.
"""
DISMISSED = frozenset({"EXPECTED_TERMINATION", "AUTOSCALER_DRAIN_IDLE"})
"""Ray's reasons for the death of a node (NodeDeathInfo in its common.proto) that are no loss."""
NO_TOKEN = "put the cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token, as for Ray itself"


class ClusterFault(RuntimeError):
    """The cluster does not answer, or not as it should: one line."""


class ClusterRefused(ValueError):
    """A cluster that must not be used as it is: one line."""


class Status(StrEnum):
    """Ray's states of a job."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def over(self) -> bool:
        return self in (Status.STOPPED, Status.SUCCEEDED, Status.FAILED)


@dataclass(frozen=True)
class Attempt:
    """What Ray knows of a job. message: why it is so, in Ray's words."""

    status: Status
    message: str
    exit_code: int | None


@dataclass(frozen=True)
class Node:
    """A machine of the cluster; memory in bytes, of what Ray hands out. used: None where the cluster does not say;
    dismissed: it is gone because it was told to go, idle or stopped in order.
    """

    address: str
    hostname: str
    head: bool
    alive: bool
    cpus: float
    memory: float
    cpus_used: float | None
    memory_used: float | None
    said: str
    dismissed: bool = False


class Cluster:
    """The cluster whose job server is at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        token = ray_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT, trust_env=False)

    def check(self) -> None:
        """Raises ClusterRefused for a cluster beyond this machine that lets in whoever comes, or that we have no token
        for; ClusterFault where nothing answers.
        """
        if is_loopback(httpx.URL(self.url).host):
            return
        if "Authorization" not in self._client.headers:
            raise ClusterRefused(f"{self.url}: a cluster beyond this machine needs a token: {NO_TOKEN}")
        try:
            stranger = httpx.get(f"{self.url}/api/jobs/", timeout=TIMEOUT, trust_env=False)
        except httpx.HTTPError as error:
            raise ClusterFault(f"{self.url}: {_reason(error)}") from error
        if stranger.is_success:
            raise ClusterRefused(
                f"{self.url}: the cluster asks nobody for a token, so anyone who reaches it runs code there;"
                " start its nodes with RAY_AUTH_MODE=token"
            )

    def submit(self, submission_id: str, entrypoint: str, environment: Mapping[str, str]) -> None:
        """Have a job run, once: where Ray knows this id already nothing happens.

        Raises ClusterFault, also for a cluster that must not be used: it may have come after the service.
        """
        try:
            self.check()
        except ClusterRefused as error:
            raise ClusterFault(str(error)) from error
        content = {
            "entrypoint": entrypoint,
            "submission_id": submission_id,
            "runtime_env": {"env_vars": dict(environment)},
            "metadata": {"crawlmill": submission_id},
        }
        answer = self._ask("POST", "/api/jobs/", json=content, timeout=SUBMITTING)
        if not answer.is_success and self.attempt(submission_id) is None:
            raise ClusterFault(f"{self.url}: {_said(answer)}")

    def attempt(self, submission_id: str) -> Attempt | None:
        """What Ray knows of a job; None where it knows none of this id. Raises ClusterFault."""
        answer = self._ask("GET", f"/api/jobs/{submission_id}")
        if answer.status_code == httpx.codes.NOT_FOUND and "does not exist" in answer.text:  # not just any server's 404
            return None
        content = self._content(answer)
        try:
            return Attempt(Status(content["status"]), content.get("message") or "", content.get("driver_exit_code"))
        except (KeyError, ValueError) as error:
            raise ClusterFault(f"{self.url}: no answer of Ray's job server ({answer.text[:200]})") from error

    def stop(self, submission_id: str) -> None:
        """End a job: SIGTERM, and SIGKILL when it goes on. One that is over, or unknown, is fine."""
        answer = self._ask("POST", f"/api/jobs/{submission_id}/stop")
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._content(answer)

    def logs(self, submission_id: str) -> str | None:
        """The end of what a job printed; None where the cluster knows nothing of it. Raises ClusterFault."""
        answer = self._end_of(f"/api/jobs/{submission_id}/logs")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(self._content(answer).get("logs") or "")

    def nodes(self) -> list[Node]:
        """The head first. Raises ClusterFault."""
        summary = self._content(self._ask("GET", "/nodes", params={"view": "summary"}))
        status = self._content(self._ask("GET", "/api/cluster_status"))
        report = _at(status, "data", "clusterStatus", "loadMetricsReport", "usageByNode")
        nodes = [_node(each, report) for each in _at(summary, "data", "summary") or []]
        return sorted(nodes, key=lambda node: (not node.alive, not node.head, node.address))

    def fault(self) -> str | None:
        """Why the cluster cannot be used just now; None when it can."""
        try:
            self._content(self._ask("GET", "/api/version"))
        except ClusterFault as error:
            return str(error)
        return None

    def _end_of(self, path: str) -> httpx.Response:
        """The answer with `logs`, of which no more than the end is ever held. Raises ClusterFault."""
        until, end, cut = time.monotonic() + LOG_SECONDS, bytearray(), False
        try:
            with self._client.stream("GET", path, timeout=httpx.Timeout(LOG_SECONDS, connect=2)) as answer:
                for chunk in answer.iter_bytes():
                    end += chunk
                    if len(end) > MAX_LOG:
                        del end[:-MAX_LOG]
                        cut = True
                    if time.monotonic() > until:
                        raise ClusterFault(f"{self.url}: the log does not come within {LOG_SECONDS:g} s; look there")
        except httpx.HTTPError as error:
            raise ClusterFault(f"{self.url}: {_reason(error)}") from error
        if cut and (whole := _WHOLE.search(end)):
            end[: whole.end()] = b'{"logs": "'
        return self._let_in(httpx.Response(answer.status_code, content=bytes(end)))

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise ClusterFault(f"{self.url}: {_reason(error)}") from error
        return self._let_in(answer)

    def _let_in(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ClusterFault(f"{self.url}: the cluster has another token: {NO_TOKEN}")
        return answer

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        if not answer.is_success:
            raise ClusterFault(f"{self.url}: {_said(answer)}")
        try:
            content = answer.json()
        except ValueError as error:
            raise ClusterFault(f"{self.url}: no answer of Ray's job server ({answer.text[:200]})") from error
        return content if isinstance(content, dict) else {}


def ray_token() -> str | None:
    """The cluster's token, from where Ray takes it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    return path.read_text().strip() or None if path.is_file() else None


def is_loopback(host: str) -> bool:
    """Whether only this machine has that address; a name other than localhost may be anybody's."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _node(summary: Mapping[str, Any], usage: Mapping[str, Any] | None) -> Node:
    raylet = summary.get("raylet") or {}
    total, used = raylet.get("resourcesTotal") or {}, _at(usage or {}, raylet.get("nodeId") or "") or {}
    return Node(
        address=str(raylet.get("nodeManagerAddress") or summary.get("ip") or "?"),
        hostname=str(summary.get("hostname") or "?"),
        head=bool(raylet.get("isHeadNode")),
        alive=raylet.get("state") == "ALIVE",
        cpus=float(total.get("CPU", 0)),
        memory=float(total.get("memory", 0)),
        cpus_used=_first(used.get("CPU")),
        memory_used=_first(used.get("memory")),
        said=str(raylet.get("stateMessage") or ""),
        dismissed=_at(raylet, "deathInfo", "reason") in DISMISSED,
    )


def _first(pair: Any) -> float | None:
    return float(pair[0]) if isinstance(pair, list) and pair else None


def _at(content: Any, *names: str) -> Any:
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _reason(error: httpx.HTTPError) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return f"Ray's job server does not answer ({said[:200]})"


def _said(answer: httpx.Response) -> str:
    """What a refusal says; of a traceback its last line."""
    lines = answer.text.strip().splitlines() or [answer.reason_phrase]
    return f"Ray's job server says {answer.status_code}: {lines[-1][:300]}"
