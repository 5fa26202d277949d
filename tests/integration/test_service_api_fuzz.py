"""The OpenAPI document is true to the answers: schemathesis goes through all of it, with every check that it has.

Two things are told to it. What a job or a schedule must be is more than a schema can say, so a refusal in words (422)
is a right answer to one that fits the schema; and planning starts a process each time, of which a few are enough.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served, served

from pipeline.service.jobs import State

pytestmark = pytest.mark.service

CONFIG = """
continue-on-failure = true
workers = 2
request-timeout = 60

[warnings]
display = []

[generation]
max-examples = {examples}
database = "none"

[dictionaries.jobs]
values = {jobs}

[dictionaries.schedules]
values = ["weekly", "none"]

[parameters]
"path.job_id" = {{ dictionary = "jobs", probability = 0.7 }}
"path.name" = {{ dictionary = "schedules", probability = 0.7 }}

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 422]

[[operations]]
include-operation-id = "events"
enabled = false

[[operations]]
include-operation-id = "plan"
generation.max-examples = 2
phases.coverage.enabled = false
phases.stateful.enabled = false
"""


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, database_url, limits={"requests_per_minute": 10**6}) as made:
        yield made


def seeded(service: Served, token: str, dataset: Path) -> list[str]:
    """Jobs in several states, one with a dataset, and a schedule."""
    with service.client(token) as client:
        made = [client.post("/api/v1/jobs", json=service.job(name)).json() for name in ("queued", "done", "failed")]
        shutil.copytree(dataset, made[1]["output"])
        job = service.job("weekly", output={"path": "weekly/{date}"})
        schedule = {"name": "weekly", "trigger": {"cron": "0 6 * * MON"}, "job": job}
        assert client.post("/api/v1/schedules", json=schedule).status_code == 201
    service.move(made[1]["id"], State.STARTING, State.RUNNING, State.COMPLETE)
    service.move(made[2]["id"], State.STARTING, State.FAILED, said="it broke")
    return [job["id"] for job in made]


def test_schemathesis_finds_nothing(service: Served, dataset: Path, tmp_path: Path) -> None:
    token = service.token("fuzz")
    jobs = seeded(service, token, dataset)
    (tmp_path / "schemathesis.toml").write_text(CONFIG.format(examples=10, jobs=jobs))
    # What every edge of the schema is answered with is asked of one database; the other sees what is drawn at random.
    phases = ["examples", "fuzzing", "stateful"] + ["coverage"] * (not service.service.database.sqlite)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/api/v1/openapi.json"]
    options = ["--checks=all", "--seed=1", "--no-color", f"--phases={','.join(phases)}"]
    found = subprocess.run(
        [*command, *options, f"--header=Authorization: Bearer {token}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(found.stdout)
    assert found.returncode == 0, found.stderr[-2_000:]
