"""A Ray of this machine's own, for a service that is given no cluster: started once, and found again.

It outlives the service, so jobs go on while that is restarted. Its job server listens to this machine alone; its other
ports, where Ray has them, ask for the token.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.environment import SINGLE_THREADED
from pipeline.service.cluster import Cluster, ClusterFault, ray_token

START_SECONDS = 120
log = logging.getLogger("crawlmill.ray")
_JOB_SERVER = re.compile(r"RAY_API_SERVER_ADDRESS='(http://127\.0\.0\.1:\d+)'")
_COLOUR = re.compile(r"\x1b\[\d*m")
_ADDRESS = "job-server"
_LONGEST = 60
"""Ray's sockets lie below its folder, and a socket's path has 107 bytes at most."""


def ray_here(home: Path) -> str:
    """The address of the job server of the Ray that belongs to `home`, started if none runs.

    Raises ClusterFault, also where one runs that does not answer as it should: two would share the machine's processors
    and know nothing of each other's jobs.
    """
    folder = home / "ray"
    folder.mkdir(parents=True, exist_ok=True)
    if len(os.fsencode(folder)) > _LONGEST:
        raise ClusterFault(f"{folder}: too long for Ray, whose sockets lie there; name a shorter `home`")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two services of one home may start at once
        noted = folder / _ADDRESS
        if noted.is_file() and _listens(url := noted.read_text().strip()):
            fault = Cluster(url).fault()
            if fault is not None:
                raise ClusterFault(
                    f"{fault}; {noted} says that a Ray of this service runs there: see why, or end it with `ray stop`"
                )
            return url
        # Noted before it is started: who is killed in between finds it all the same.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        noted.write_text(f"http://127.0.0.1:{port}")
        log.info("starting a Ray on this machine, which will outlive this process (below %s)", folder)
        url = _start(folder, port)
        noted.write_text(url)
        return url


def _listens(url: str) -> bool:
    """Whether anybody listens at an address of this machine."""
    try:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def _start(folder: Path, port: int) -> str:
    environment = {**os.environ, **SINGLE_THREADED, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment.pop("RAY_ADDRESS", None)
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    if ray_token() is None:
        subprocess.run([*ray, "get-auth-token", "--generate"], env=environment, capture_output=True, check=True)
    command = [*ray, "start", "--head", "--node-ip-address=127.0.0.1", "--port=0", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={port}", "--dashboard-agent-listen-port=0", f"--temp-dir={folder}"]
    with (folder / "start.log").open("w+") as log:
        try:
            # Its output goes to a file: a pipe would be held open by what goes on running.
            started = subprocess.run(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=START_SECONDS,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as silence:
            raise ClusterFault(f"Ray does not start within {START_SECONDS} s; see {log.name}") from silence
        log.seek(0)
        said = _COLOUR.sub("", log.read())
    found = _JOB_SERVER.search(said)
    if started.returncode or found is None:
        last = (said.strip().splitlines() or ["no word from it"])[-1]
        raise ClusterFault(f"Ray does not start: {last[:300]} (see {folder / 'start.log'})")
    return found[1]
