"""Alerts and dashboard: they watch what the service counts, and say what to do about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from pipeline.service.api.app import create_app
from pipeline.service.cluster import Node
from pipeline.service.database import Database
from pipeline.service.jobs import State
from pipeline.service.service import Service
from pipeline.service.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def alerts() -> list[Any]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[Any]:
    return list(json.loads((DEPLOY / "grafana" / "crawlmill.json").read_text())["panels"])


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_what_to_do(rule: Any) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"]) > 40


class OneWorker:
    """A cluster with one machine."""

    def nodes(self) -> list[Node]:
        return [Node("10.0.0.1", "a", head=True, alive=True, cpus=2, memory=1, cpus_used=1, memory_used=0, said="")]

    def logs(self, submission_id: str) -> str | None:
        return None

    def fault(self) -> str | None:
        return None


def test_every_metric_that_is_watched_is_one_that_the_service_has(tmp_path: Path) -> None:
    settings = Settings(database=f"sqlite:///{tmp_path}/db", data=tmp_path)
    database = Database(settings.database)
    database.upgrade()
    app = create_app(Service(settings, database, OneWorker()))
    answer = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)).get("/metrics")
    assert answer.status_code == 200
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", answer.text, re.M))
    suffixes = {"histogram": ("_bucket", "_count", "_sum")}
    there = {name + suffix for name, kind in families.items() for suffix in suffixes.get(kind, ("",))}
    queries = [rule["expr"] for rule in alerts()] + [
        target["expr"] for panel in panels() for target in panel.get("targets", ())
    ]
    watched = {name for query in queries for name in re.findall(r"\bcrawlmill_\w+", query)}
    assert len(watched) > 12
    assert watched <= there
    states = [each for query in queries for each in re.findall(r'crawlmill_jobs\{state=~?"([a-z|]+)"', query)]
    assert {name for each in states for name in each.split("|")} <= {*State}


def test_panels_do_not_cover_each_other() -> None:
    cells = [
        (x, y)
        for spot in (panel["gridPos"] for panel in panels())
        for x in range(spot["x"], spot["x"] + spot["w"])
        for y in range(spot["y"], spot["y"] + spot["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels()}) == len(panels())
