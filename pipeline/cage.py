"""A child process for stages that hand hostile bytes to native code: killed at a record's limits, replaced, and fed the
next.

The kernel enforces the limits: RLIMIT_AS for memory, RLIMIT_CPU moved on before each record. A child that neither
answers nor uses its processor is killed by the parent. A record that kills its child is tried once more in a fresh one,
alone, before it fails. What a stage prints is thrown away. When the parent dies, by whatever signal, the kernel kills
the child.

Run as `python -m pipeline.cage FD` this module is the child.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from pipeline.environment import SINGLE_THREADED
from stages.stage import Extracted, IsolatedStage, Refusal

_LOOK_SECONDS = 15.0
_EXIT_SECONDS = 10.0
"""For a child that closed its end of the link and has still to exit."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Failure:
    """Why processing a record failed: a fault of processing, not a judgement of the record."""

    reason: str  # over_cpu_limit | over_memory_limit | crashed | hung | extraction_error
    value: float | None = None
    threshold: float | None = None
    detail: str | None = None


class CageError(RuntimeError):
    """The child process does not even start: no record's fault."""


class Cage:
    """Runs one stage's `process` in a child process, which lives until a record kills it."""

    def __init__(self, stage: IsolatedStage) -> None:
        self._stage = stage
        self._child: subprocess.Popen[bytes] | None = None
        self._link: Connection | None = None
        self._spent = 0.0

    @property
    def seconds(self) -> float:
        """Processor time that the children have used."""
        return self._spent + (self._cpu_seconds() if self._child else 0.0)

    def process(self, payload: bytes, record: Mapping[str, Any]) -> Extracted | Refusal | Failure:
        """The stage's answer for one record, or how the record broke the stage, twice. Raises CageError."""
        answer = self._attempt(payload, record)
        if isinstance(answer, Failure) and answer.reason != "extraction_error":
            self.close()
            answer = self._attempt(payload, record)
        return answer

    def close(self) -> None:
        """Kill the child, if there is one."""
        if self._child is not None and self._link is not None:
            self._spent += self._cpu_seconds()  # before the wait, after which nobody knows
            self._link.close()
            self._child.kill()
            self._child.wait()
        self._child, self._link = None, None

    def _attempt(self, payload: bytes, record: Mapping[str, Any]) -> Extracted | Refusal | Failure:
        link = self._link or self._start()
        try:
            link.send_bytes(json.dumps(record).encode())
            link.send_bytes(payload)
            if not self._wait_for_answer(link):
                self.close()
                silence = self._stage.limits.silence_seconds
                return Failure("hung", silence, silence)
            answer = json.loads(link.recv_bytes())
        except (EOFError, ConnectionError, BrokenPipeError):
            return self._post_mortem()
        if "extracted" in answer:
            return Extracted(**answer["extracted"])
        if "refusal" in answer:
            return Refusal(**answer["refusal"])
        if answer["failure"]["reason"] == "over_memory_limit":
            self.close()  # what a MemoryError left behind is not to be trusted
        return Failure(**answer["failure"])

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        stage = type(self._stage)
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cage", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # ours may be a JSON document
                start_new_session=True,  # Ctrl-C is the parent's to handle
                env=os.environ
                | SINGLE_THREADED
                | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._link = Connection(ours.detach())
        try:
            self._link.send_bytes(json.dumps([stage.__module__, stage.__name__, self._stage.model_dump()]).encode())
            if not self._wait_for_answer(self._link):
                raise EOFError
            self._link.recv_bytes()  # it is ready
        except (EOFError, ConnectionError) as error:
            detail = self._post_mortem().detail
            raise CageError(f"{self._stage.kind}: its child process does not start ({detail})") from error
        return self._link

    def _wait_for_answer(self, link: Connection) -> bool:
        """False when the child used no processor time for as long as its stage may be silent."""
        used, since = -1.0, time.monotonic()
        while not link.poll(_LOOK_SECONDS):
            now = self._cpu_seconds()
            if now > used:
                used, since = now, time.monotonic()
            elif time.monotonic() - since > self._stage.limits.silence_seconds:
                return False
        return True

    def _cpu_seconds(self) -> float:
        assert self._child is not None
        try:
            with open(f"/proc/{self._child.pid}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:  # gone, which the next poll reports as the end of the stream
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _post_mortem(self) -> Failure:
        assert self._child is not None
        code = self._exit_status(self._child.pid)
        self.close()
        limits = self._stage.limits
        if code == -signal.SIGXCPU:
            return Failure("over_cpu_limit", limits.cpu_seconds, limits.cpu_seconds)
        if code == -signal.SIGKILL:
            return Failure("over_memory_limit", limits.memory_bytes, limits.memory_bytes, "killed by the system")
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return Failure("crashed", detail=name)

    def _exit_status(self, pid: int) -> int:
        """How a child that is ending ended, negative for a signal; it stays a zombie, whose processor time can still be
        read.
        """
        end = time.monotonic() + _EXIT_SECONDS
        while (found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is None:
            if time.monotonic() > end:
                return 0
            time.sleep(0.01)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


_cages: dict[str, Cage] = {}


def cage_for(stage: IsolatedStage) -> Cage:
    """The cage of a stage in this process, made when first asked for."""
    key = stage.model_dump_json()
    if key not in _cages:
        _cages[key] = Cage(stage)
        atexit.register(_cages[key].close)
    return _cages[key]


def cage_seconds() -> float:
    """Processor time that all cages of this process have used."""
    return sum(cage.seconds for cage in _cages.values())


def _child(link: Connection) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    module, name, fields = json.loads(link.recv_bytes())
    stage: IsolatedStage = getattr(importlib.import_module(module), name)(**fields)
    IsolatedStage.limit_cpu = staticmethod(_limit_cpu)  # type: ignore[method-assign]
    stage.load()
    stage.prepare()  # what it imports is no record's memory or processor time
    _silence()
    limits = stage.limits
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, mapped + limits.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    link.send_bytes(b"ready")
    while True:
        try:
            record, payload = json.loads(link.recv_bytes()), link.recv_bytes()
        except EOFError:
            return
        _limit_cpu(limits.cpu_seconds)
        link.send_bytes(_answer(stage, payload, record))


def _answer(stage: IsolatedStage, payload: bytes, record: Mapping[str, Any]) -> bytes:
    try:
        result = stage.process(payload, record)
        return _encoded({"extracted" if isinstance(result, Extracted) else "refusal": asdict(result)})
    except MemoryError:
        most = stage.limits.memory_bytes
        failure = Failure("over_memory_limit", most, most)
    except Exception as error:  # whatever a page makes a library raise is the page's own failure, with its name
        failure = Failure("extraction_error", detail=f"{type(error).__name__}: {error}"[:200])
    return _encoded({"failure": asdict(failure)})


def _encoded(answer: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; lone surrogates, which a page's character references may leave in a text, become U+FFFD."""
    said = json.dumps(answer, ensure_ascii=False)
    try:
        return said.encode()
    except UnicodeEncodeError:
        return said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _silence() -> None:
    """Send what is printed from here on to nowhere: a page's warnings are not the user's."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


def _limit_cpu(seconds: float) -> None:
    """Leave this process so many seconds of processor time, to the next whole second; where none are left it ends."""
    if seconds <= 0:
        signal.raise_signal(signal.SIGXCPU)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + 1 + max(1, int(seconds)))


def _limit(what: int, most: int) -> None:
    """Set a soft limit, within the hard one that the child was born with."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    _child(Connection(int(sys.argv[1])))
