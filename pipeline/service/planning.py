"""Checking a submitted job: what can be told without its inputs at once, a whole plan in a process that can be killed.

A plan loads models and lists, lists inputs and may read an index: minutes, gigabytes, native code, all of a stranger's
choosing. Run as `python -m pipeline.service.planning` this module is the child: the job on its standard input, one JSON
document on its standard output. Nothing is written to the output of the job.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from pipeline.environment import SINGLE_THREADED
from pipeline.service.placing import place
from pipeline.service.policy import Storage, StoragePolicy
from pipeline.spec import Job, JobError, load_stages, parse_job
from stages.catalog import did_you_mean, shipped_recipes

SECONDS = 60.0
MEMORY = 4 * 2**30
"""Bytes of addresses beside what the imported libraries map; lid.176 and Tesseract's data are far below it."""
MAX_SPEC = 2**17
"""Bytes of a job as it is stored: JSON, its places written out."""
MAX_REQUESTS_PER_SECOND = 2.0
"""A plan asks for a list or two, and of an index for parts; the jobs' own budget is not known here."""


class Undecided(Exception):
    """Planning came to no end within its limits. One line; nothing is known to be wrong with the job."""


class PlanningFault(RuntimeError):
    """The child process failed for a reason that is not the job's. One line."""


def check(content: object, storage: Storage) -> Job:
    """The job in what YAML or JSON held, with its places as the operator allows them. Raises JobError.

    Looks at no input and loads no model.
    """
    try:
        job = parse_job(content, "job")
        _only_shipped(job)
        placed = place(job, load_stages(job, storage.data), storage)
        size = len(json.dumps(placed.model_dump(mode="json", exclude_unset=True)))
    except RecursionError as error:
        raise JobError("job: nested too deeply") from error
    if size > MAX_SPEC:
        said = f"job: {size:,} bytes as JSON, its places written out; {MAX_SPEC:,} at most"
        raise JobError(f"{said}: name many files by a pattern, as in crawl/*.warc.gz")
    return placed


def _only_shipped(job: Job) -> None:
    """A path would name a file of the service's machine, whose content the error might tell."""
    if isinstance(job.recipe, str) and job.recipe not in shipped_recipes():
        hint = did_you_mean(job.recipe, shipped_recipes())
        raise JobError(
            f"job: recipe: {job.recipe[:200]!a}: not a shipped recipe{hint}; or write out one of your own, recipe:"
            " {stages: [...]}, which `crawlmill submit` does by itself"
        )


def plan_in_child(job: Job, storage: Storage, seconds: float = SECONDS, memory: int = MEMORY) -> dict[str, Any]:
    """What `crawlmill plan --json` says of a job that `check` has returned, but for its inputs: their count, and their
    bytes, null where some are not known before they are opened.

    Raises JobError with the command line's own sentence, Undecided, and PlanningFault. May be called from any thread;
    how many do so at once is the caller's to bound.
    """
    given = {
        "job": job.model_dump(mode="json", exclude_unset=True),
        "data": str(storage.data),
        "policy": storage.policy.model_dump(mode="json"),
        "seconds": seconds,
        "memory": memory,
    }
    late = f"planning took more than {seconds:g} s; the job can be submitted all the same"
    try:
        status, answer = _run_child(json.dumps(given).encode(), seconds)
    except subprocess.TimeoutExpired as error:
        raise Undecided(late) from error
    return _answer(status, answer, late, memory)


def _run_child(given: bytes, seconds: float) -> tuple[int, bytes]:
    """Exit status and answer. Raises subprocess.TimeoutExpired; whatever happens, no process is left."""
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.service.planning"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd="/",  # not where jobs write
        env=os.environ | SINGLE_THREADED | {"PYTHONPATH": paths},
    ) as child:
        try:
            answer, _ = child.communicate(given, seconds)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, answer


def _answer(status: int, answer: bytes, late: str, memory: int) -> dict[str, Any]:
    if status == -signal.SIGALRM:
        raise Undecided(late)
    try:
        said = json.loads(answer)
    except ValueError as error:
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise PlanningFault(f"the process that planned the job ended with {name}") from error
    if "refused" in said:
        raise JobError(said["refused"])
    if "too_large" in said:
        many = f"{memory / 2**20:,.0f} MiB"
        raise Undecided(f"planning took more than {many} of memory; the job can be submitted all the same")
    if "defect" in said:
        raise PlanningFault(said["defect"])
    plan: dict[str, Any] = said["plan"]
    return plan


def _main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    given = json.load(sys.stdin.buffer)
    signal.alarm(math.ceil(given["seconds"]) + 1)  # should nobody be left to kill it
    with os.fdopen(answers, "w") as out:
        json.dump(_planned(given), out)


def _planned(given: dict[str, Any]) -> dict[str, Any]:
    from pipeline.assets import AssetError
    from pipeline.faults import StoreError

    storage = Storage(Path(given["data"]), StoragePolicy.model_validate(given["policy"]))
    try:
        return {"plan": _plan(check(given["job"], storage), storage, given["memory"])}
    except (JobError, AssetError, StoreError) as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"too_large": True}
    except Exception as error:  # the last resort of the program: one line for the caller, the traceback in the log
        traceback.print_exc()
        return {"defect": f"a defect of crawlmill: {type(error).__name__}: {error}"[:1000]}


def _plan(job: Job, storage: Storage, memory: int) -> dict[str, Any]:
    from pipeline.budget import LocalBudget
    from pipeline.plan import check_output, plan_job

    _limit_memory(memory)
    assert job.output.path is not None, "place asks for one"
    budget = LocalBudget(min(job.source.requests_per_second, MAX_REQUESTS_PER_SECOND))
    made = plan_job(job, storage.data, job.output.path, budget)
    storage.confirm(each.path for each in made.inputs)
    resumes = check_output(made)
    sizes = [each.bytes for each in made.inputs if each.bytes is not None]
    return {
        **made.identity,
        "inputs": {"count": len(made.inputs), "bytes": sum(sizes) if len(sizes) == len(made.inputs) else None},
        "name": made.job.name,
        "fingerprint": made.fingerprint,
        "output": made.output,
        "resumes": resumes,
    }


def _limit_memory(extra: int) -> None:
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + extra, mapped + extra))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _main()
