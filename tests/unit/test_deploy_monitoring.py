"""Alerts and dashboard: they watch what the service counts, and say what to do about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from serving import served

from pipeline.service.jobs import State

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


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> list[Metric]:
    """What a service says that runs a job and has a schedule for every snapshot."""
    folder = tmp_path_factory.mktemp("scraped")
    with served(folder, f"sqlite:///{folder}/crawlmill.db") as service, service.client() as client:
        service.move(client.post("/api/v1/jobs", json=service.job("a")).json()["id"], State.STARTING, State.RUNNING)
        source = {"kind": "commoncrawl", "snapshot": "{snapshot}"}
        job = service.job("{schedule}", source=source, output={"path": "out/{snapshot}"})
        wanted = {"name": "every", "trigger": {"snapshots": True}, "job": job}
        assert client.post("/api/v1/schedules", json=wanted).status_code == 201
        return list(text_string_to_metric_families(client.get("/metrics").text))


def queries() -> list[str]:
    return [rule["expr"] for rule in alerts()] + [
        target["expr"] for panel in panels() for target in panel.get("targets", ())
    ]


def test_every_metric_that_is_watched_is_one_that_the_service_has(scrape: list[Metric]) -> None:
    there = {sample.name for family in scrape for sample in family.samples}
    watched = {name for query in queries() for name in re.findall(r"\bcrawlmill_\w+", query)}
    assert len(watched) > 12
    assert watched <= there
    states = [each for query in queries() for each in re.findall(r'crawlmill_jobs\{state=~?"([a-z|]+)"', query)]
    assert {name for each in states for name in each.split("|")} <= {*State}


def test_every_label_that_is_asked_for_is_one_that_the_metric_has(scrape: list[Metric]) -> None:
    values: dict[str, dict[str, set[str]]] = {}
    for sample in (sample for family in scrape for sample in family.samples):
        for label, value in sample.labels.items():
            values.setdefault(sample.name, {}).setdefault(label, set()).add(value)
    for query in queries():
        metrics = re.findall(r"\bcrawlmill_\w+", query)
        known = {label for name in metrics for label in values.get(name, ())}
        grouped = {each.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for each in group.split(",")}
        assert grouped <= known, query
        for name, label, value in re.findall(r'(crawlmill_\w+)\{(\w+)="(\w+)"', query):
            assert value in values[name][label], query
    for rule in alerts():
        said = {each for text in rule["annotations"].values() for each in re.findall(r"\$labels\.(\w+)", text)}
        if said and "crawlmill_" in rule["expr"]:
            assert all(f"by ({label})" in rule["expr"] for label in said), rule["alert"]


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
