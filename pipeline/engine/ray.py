"""The engine of a Ray cluster, started on this machine or joined; the only module that imports ray to execute.

Placement, retries of dead workers and the object store are Ray's. What is ours: a bounded number of tasks in flight, an
error that stays with its item, a look at every node before it works for us, and two small actors: the desk of the run,
where its progress is told, and the doorkeeper, which in a joined cluster all jobs have in common.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self, cast

from pipeline import __version__
from pipeline.budget import allowed
from pipeline.engine import Context, Done, EngineError, Progress, R, T, Work, installed
from pipeline.engine.capacity import Node, await_place, places
from pipeline.engine.desk import Desk
from pipeline.engine.doorkeeper import Doorkeeper
from pipeline.engine.handles import SharedBudget, SharedTurns
from pipeline.engine.inspection import Answer, Inspection, NodeGone
from pipeline.engine.installed import difference, digest, errand
from pipeline.engine.knock import knock
from pipeline.engine.nodes import Needs, leave_marks, remove_marks, unmet
from pipeline.environment import SINGLE_THREADED
from pipeline.faults import StoreError

os.environ.setdefault("RAY_AUTH_MODE", "token")  # nobody runs code here without the cluster's token
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

RETRIES_OF_DEAD_WORKERS = 5
"""Of one submission of a task, by Ray; a task that kills its process so often will go on doing it."""
LOST_NODES = 20
"""Submissions of a task whose node was lost in the end: machines come and go, and that is not the task's doing. A task
that takes whole machines with it ends all the same.
"""
POLL_SECONDS = 0.5
NODES_SECONDS = 120.0
"""That a joined cluster may take until it has a node which holds a task."""
NAMESPACE = "crawlmill"
TERMINATED = 128 + signal.SIGTERM
_WORKER_ENVIRONMENT = SINGLE_THREADED | {"PYTHONHASHSEED": "0"}
_LOST = (ray.exceptions.NodeDiedError, ray.exceptions.LocalRayletDiedError, ray.exceptions.ObjectLostError)

ray.cloudpickle.register_pickle_by_value(installed)  # type: ignore[no-untyped-call]


def _task(work: Work[T, R], item: T, hosts: Sequence[str], per_second: float, desk: Any, keeper: Any) -> R:
    """What a Ray worker runs."""
    import pyarrow as pa

    pa.set_cpu_count(1)

    def tell(number: int, read: int, kept: int) -> None:
        desk.tell.remote(number, read, kept)

    turns = None if keeper is None else SharedTurns(keeper)
    return work(item, Context(tell, SharedBudget(keeper or desk, ray.get, hosts, per_second), turns))


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _packed(function: Callable[..., Any]) -> bytes:
    packed: bytes = ray.cloudpickle.dumps(function)  # type: ignore[no-untyped-call]
    return packed


def _on_node(node: str, *, soft: bool) -> dict[str, Any]:
    """Options of a task or actor that is to run there and takes no processor; soft: elsewhere if the node is lost."""
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=soft)}


class RayEngine:
    """Starts Ray here with `workers` processors, or joins the cluster of the Ray node on this host at `address`.

    cpus, memory: what a task is given, in processors and bytes. hosts: of sources (`pipeline.budget.hosts_among`), for
    which all jobs of a joined cluster have one budget; of it this job takes up to `requests_per_second`, or as much as
    the operator allows. wait: seconds that a joined cluster may take until one of its nodes holds a task. SIGTERM ends
    a run as Ctrl-C does, by SystemExit(143). Raises EngineError.
    """

    name = "ray"

    def __init__(
        self,
        workers: int | None,
        address: str | None,
        cpus: int,
        memory: int,
        requests_per_second: float,
        *,
        hosts: Sequence[str] = (),
        wait: float = NODES_SECONDS,
    ) -> None:
        self._workers, self._address = workers, address
        self._cpus, self._memory, self._wait = cpus, memory, wait
        self._hosts = tuple(hosts) or (f"run {secrets.token_hex(8)}",)
        self._needs: Needs | None = None
        self._expected: str | None = None
        self._inspection: Inspection | None = None
        self._terminated = False
        try:
            self._per_second = allowed(requests_per_second)
        except ValueError as error:
            raise EngineError(str(error)) from error

    def __enter__(self) -> Self:
        self._handler = signal.getsignal(signal.SIGTERM)
        self._start()
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, self._terminate)  # Ray's own handler exits with 15
            self._await_place()
            here = ray.get_runtime_context().get_node_id()
            lasting = {"max_restarts": -1, "max_task_retries": -1, **_on_node(here, soft=True)}
            desk: Any = ray.remote(Desk)
            self._desk = desk.options(**lasting).remote()
            self._keeper: Any = None
            if self._address is not None:
                keeper: Any = ray.remote(Doorkeeper)
                name = {"name": f"doorkeeper {__version__}", "namespace": NAMESPACE, "get_if_exists": True}
                self._keeper = keeper.options(**lasting, **name, lifetime="detached").remote()
                self._expected = digest(installed.installed())
        except BaseException:
            self.__exit__()
            raise
        self.budget = SharedBudget(self._keeper or self._desk, ray.get, self._hosts, self._per_second)
        return self

    def _start(self) -> None:
        options: dict[str, Any] = {
            "runtime_env": {"env_vars": _WORKER_ENVIRONMENT},
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "configure_logging": False,
        }
        if self._address is None:  # "local": left out, it would join whatever RAY_ADDRESS or `ray start` left behind
            options |= {"address": "local", "num_cpus": self._workers, "include_dashboard": False}
        else:
            knock(self._address)
            options |= {"address": self._address}
        try:
            with contextlib.redirect_stdout(None):
                ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, AssertionError, TimeoutError) as error:
            said = " ".join(str(error).split())[:200]
            where = f"no Ray node of {self._address} on this host" if self._address else "Ray does not start here"
            hint = "; start one with `ray start`, or leave --address out" if self._address else ""
            raise EngineError(f"{where}{hint} ({said})") from error

    def _await_place(self) -> None:
        """Raises EngineError where no node can hold a task. Where workers are made on demand, this is the demand."""
        if self._address is None or places(_nodes(), self._cpus, self._memory):
            return await_place(_nodes, self._cpus, self._memory, 0)
        wish: Any = ray.remote(num_cpus=self._cpus, memory=self._memory)(errand)
        wished = wish.options(name="a place for a shard").remote(None, _packed(int))
        try:
            return await_place(_nodes, self._cpus, self._memory, self._wait)
        finally:
            ray.cancel(wished)

    def __exit__(self, *raised: Any) -> None:
        if self._needs is not None:
            with contextlib.suppress(StoreError):  # a small file stays
                remove_marks(self._needs)
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)
        if self._terminated:
            raise SystemExit(TERMINATED)

    def _terminate(self, number: int, frame: Any) -> None:
        """Ray lets a KeyboardInterrupt pass that strikes while it waits; of a SystemExit it makes one with status 1."""
        if not self._terminated:  # once is enough
            self._terminated = True
            raise KeyboardInterrupt

    def check(self, needs: Needs) -> None:
        """See that every node has what is installed here, sees the local places of the run, and has its models and
        lists. Nodes that come later are looked at while they begin to work. Raises EngineError, StoreError.
        """
        if self._address is None:
            return
        leave_marks(needs)
        self._needs, self._inspection = needs, Inspection(partial(self._look, _packed(partial(unmet, needs))))
        self._inspection.all_of(_nodes)

    def _look(self, load: bytes, node: Node) -> Callable[[], Answer | None]:
        look: Any = ray.remote(errand)
        options = _on_node(node["NodeID"], soft=False) | {"name": f"look at {node['NodeManagerAddress']}"}
        reference = look.options(**options).remote(self._expected, load)

        def answer() -> Answer | None:
            if not ray.wait([reference], timeout=0)[0]:
                return None
            try:
                return cast(Answer, ray.get(reference))
            except ray.exceptions.RayTaskError as error:
                return True, f"cannot be looked at: {' '.join(str(error.cause or error).split())[-300:]}"
            except ray.exceptions.RayError as error:
                raise NodeGone from error

        return answer

    def map(self, work: Work[T, R], items: Sequence[T], label: Callable[[T], str]) -> Iterator[Done[T, R] | Progress]:
        remote: Any = ray.remote(
            num_cpus=self._cpus, memory=self._memory, max_retries=RETRIES_OF_DEAD_WORKERS, retry_exceptions=False
        )(errand)
        waiting, exhausted = iter(items), False
        running: dict[Any, tuple[T, int]] = {}

        def submit(item: T, times: int) -> None:
            load = _packed(partial(_task, work, item, self._hosts, self._per_second))
            sent = remote.options(name=label(item)).remote(self._expected, load, self._desk, self._keeper)
            running[sent] = (item, times)

        while running or not exhausted:
            nodes = _nodes()
            if self._inspection is not None:
                self._inspection.go_on(nodes)
            room = 2 * max(1, places(nodes, self._cpus, self._memory))
            while len(running) < room and not exhausted:
                try:
                    item = next(waiting)
                except StopIteration:
                    exhausted = True
                else:
                    submit(item, 1)
            ready, _ = ray.wait(list(running), timeout=POLL_SECONDS) if running else ([], [])
            told: dict[int, tuple[int, int]] = ray.get(self._desk.hear.remote())
            if told:
                yield Progress(told)
            for reference in ready:
                item, times = running.pop(reference)
                try:
                    done: Done[T, R] = self._done(item, reference)
                except _LOST as error:
                    if times < LOST_NODES:
                        submit(item, times + 1)
                        continue
                    done = Done(item, None, error)
                yield done

    def _done(self, item: T, reference: Any) -> Done[T, R]:
        """Raises _LOST where nobody is to blame, EngineError where it was sent to a node that has something else."""
        try:
            alike, found = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            return Done(item, None, error.cause or error)
        except _LOST:
            raise
        except ray.exceptions.RayError as error:  # the worker died, again and again
            return Done(item, None, error)
        if not alike:
            raise EngineError(f"a node that came later: {difference(found, installed.installed())}")
        return Done(item, found)
