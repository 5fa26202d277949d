"""Whether a cluster answers, asked in a process that can be given up."""

from __future__ import annotations

import subprocess
import sys

from pipeline.engine import EngineError

SECONDS = 20


def knock(address: str) -> None:
    """Ask the Ray node at an address for a sign of life. Raises EngineError.

    `ray.init` itself tries for minutes where nothing answers, and its C++ side writes to stderr meanwhile.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    hint = "start one with `ray start`, or leave --address out"
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as silence:
        raise EngineError(f"no Ray node answers at {address} within {SECONDS} s; {hint}") from silence
    if asked.returncode and "AuthenticationError" in asked.stderr:
        raise EngineError(
            f"{address}: the cluster has another token: put its own into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )
    if asked.returncode:
        said = (asked.stderr.strip() or asked.stdout.strip() or "`ray status` fails").splitlines()[-1]
        raise EngineError(f"no Ray node of {address} on this host; {hint} ({said[:200]})")
