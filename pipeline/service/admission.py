"""Which of the jobs that wait may start now: a pure function of the jobs and the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.service.jobs import Job, State
from pipeline.service.settings import Limits


def admitted(active: Sequence[Job], limits: Limits) -> list[Job]:
    """Those to start, in order. active: all jobs that are not over, in the order in which they would start.

    One whose team has as many as it may does not hold up the others.
    """
    going = Counter(job.team for job in active if job.state != State.QUEUED)
    chosen = []
    for job in active:
        if job.state != State.QUEUED or going[job.team] >= limits.teams.get(job.team, limits.per_team):
            continue
        if going.total() >= limits.running:
            break
        going[job.team] += 1
        chosen.append(job)
    return chosen


def reasons_to_wait(active: Sequence[Job], limits: Limits) -> dict[str, str]:
    """Of jobs that wait, by id: why."""
    starting = {job.id for job in admitted(active, limits)}
    going = Counter(job.team for job in active if job.state != State.QUEUED or job.id in starting)
    waiting = [job for job in active if job.state == State.QUEUED and job.id not in starting]
    said = {}
    for place, job in enumerate(waiting):
        most = limits.teams.get(job.team, limits.per_team)
        if going[job.team] >= most:
            said[job.id] = f"team {job.team} runs {going[job.team]} of {most}"
        else:
            said[job.id] = f"{going.total()} of {limits.running} jobs run, {place} wait before it"
    return said
