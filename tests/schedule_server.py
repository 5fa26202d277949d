"""A server's scheduler as a process, for tests that kill it: `python schedule_server.py DATABASE CRAWL HOW`.

HOW: `well`, or where to die by SIGKILL: `claimed` (the run is written, its job is not), `submitted` (both are), each
before the transaction ends. It says `ready` on stdout when it looks, and ends when its stdin does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import sqlalchemy as sa

from pipeline.service.database import Database
from pipeline.service.scheduling.schedule_loop import Scheduler
from pipeline.service.settings import Settings
from pipeline.spec import Job, parse_job


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, crawl: str, how: str) -> None:
    database = Database(url)
    checked = threading.local()

    def check(content: object) -> Job:
        checked.here = True
        if how == "claimed":
            die()
        return parse_job(content, "job")

    def before_commit(connection: sa.Connection) -> None:
        if how == "submitted" and getattr(checked, "here", False):
            die()

    sa.event.listen(database.engine, "commit", before_commit)
    stop = threading.Event()
    scheduler = Scheduler(Settings.model_validate({"crawl": crawl, "poll_seconds": 1}), database, check)
    loop = threading.Thread(target=scheduler.run, args=(stop,))
    loop.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    loop.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
