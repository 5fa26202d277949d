"""The page of a job while it goes on, in a real browser; at last with everything that belongs to a service."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from browsing import asked_for, find, on_the_network, text_of, until
from service_site import Site, served, under_way

from pipeline.sample.crawl import write_sample
from pipeline.service import jobs
from pipeline.service.jobs import State

pytestmark = pytest.mark.browser


DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_a_job_page_keeps_up(desk: Any, site: Site) -> None:
    """What changes is replaced, what a person has opened stays open, and nothing is loaded anew."""
    desk.get(site.page("starting"))
    desk.execute_script("window.__same = true")
    find(desk, "#spec summary").click()
    desk.execute_script("document.getElementById('cancel').focus()")
    site.change("starting", State.RUNNING)
    until(desk, lambda _: "running" in text_of(desk, "#title"))
    assert "running" in text_of(desk, "#live-status")
    site.progress("starting", under_way(40, 11))
    until(desk, lambda _: text_of(desk, "#progress").count("11") and "27.3" in text_of(desk, "#progress"))
    assert "20 % of the shards" in until(desk, lambda _: text_of(desk, "#live-status"))
    assert desk.execute_script("return document.activeElement.id") == "cancel"
    assert find(desk, "#spec").get_attribute("open") is not None
    site.change("starting", State.FAILED, said="the cluster went away")
    until(desk, lambda _: "the cluster went away" in text_of(desk, "#said"))
    assert find(desk, "#retry").is_displayed()
    assert desk.title.startswith("cc-2026-43-deu: failed")
    assert desk.execute_script("return window.__same && document.querySelector('main').dataset.over !== undefined")
    assert desk.get_log("browser") == []


def test_updates_can_be_paused(desk: Any, site: Site) -> None:
    desk.get(site.page("huge"))
    find(desk, "#live-pause").click()
    assert text_of(desk, "#live-pause") == "Resume updates"
    site.progress("huge", under_way(90_000, 50_000))
    shown = text_of(desk, "#progress")
    desk.execute_async_script("setTimeout(arguments[0], 2500)")
    assert text_of(desk, "#progress") == shown
    find(desk, "#live-pause").click()
    until(desk, lambda _: "50" in text_of(desk, "#progress .figures"))


def test_a_service_that_is_away_is_said_to_be_until_it_is_back(desk: Any, site: Site) -> None:
    desk.get(site.page("huge"))
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    desk.execute_cdp_cmd("Network.enable", {})
    desk.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **network})
    try:
        site.progress("huge", under_way(90_000, 60_000))
        until(desk, lambda _: "does not answer" in text_of(desk, "#live-status"))
        assert "unseen" not in find(desk, "#live-status").get_attribute("class")
    finally:
        desk.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **network})
    until(desk, lambda _: "60" in text_of(desk, "#progress .figures"))
    assert "does not answer" not in text_of(desk, "#live-status")
    assert "unseen" in find(desk, "#live-status").get_attribute("class")


def test_any_number_of_tabs_may_follow_jobs(desk: Any, site: Site) -> None:
    """A browser has six connections for all tabs of a host, so a tab that nobody sees holds none; shown again, it goes
    on from the last event that it had.
    """
    first, tabs = desk.current_window_handle, []
    events = f"{site.page('queued-0').replace('/jobs/', '/api/v1/jobs/')}/events"
    try:
        desk.get(site.page("queued-0"))
        site.change("queued-0", State.STARTING)
        with site.service.database.read() as connection:
            last = str(jobs.events_of(connection, site.jobs["queued-0"])[-1].id)
        until(desk, lambda _: last in [each["eventId"] for each in on_the_network(desk, "eventSourceMessageReceived")])
        for _ in range(7):
            desk.switch_to.new_window("tab")
            tabs.append(desk.current_window_handle)
            desk.get(site.page("running"))
            until(desk, lambda _: text_of(desk, "#title"))
        site.change("queued-0", State.RUNNING)
        desk.switch_to.window(first)
        until(desk, lambda _: "running" in text_of(desk, "#title"))
        assert [url for url in asked_for(desk) if url.startswith(events)] == [f"{events}?after={last}"]
    finally:
        for tab in tabs:
            desk.switch_to.window(tab)
            desk.close()
        desk.switch_to.window(first)


def test_a_page_that_the_browser_keeps_for_the_way_back_holds_no_stream(desk: Any, site: Site) -> None:
    desk.get(site.page("queued-1"))
    until(desk, lambda _: text_of(desk, "#title"))
    desk.execute_script("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    desk.get_log("performance")
    site.change("queued-1", State.STARTING)
    desk.execute_script("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    until(desk, lambda _: "starting" in text_of(desk, "#title"))
    assert len([url for url in asked_for(desk) if "/events?after=" in url]) == 1


def test_job_page_has_its_picture_taken(desk: Any, tmp_path: Path) -> None:
    """With CRAWLMILL_SCREENSHOTS=1 it is the README's."""
    folder = DOCS if os.environ.get("CRAWLMILL_SCREENSHOTS") == "1" else tmp_path
    with served(tmp_path) as site:
        desk.get(site.page("running"))
        until(desk, lambda _: text_of(desk, "[data-tail]"))
        upper = {"x": 0, "y": 0, "width": 1280, "height": 1130, "scale": 1}
        asked = {"format": "png", "captureBeyondViewport": True, "clip": upper}
        made = base64.b64decode(desk.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
    (folder / "job-page.png").write_bytes(made)
    assert made.startswith(b"\x89PNG")


@pytest.mark.cluster
def test_a_job_is_submitted_watched_and_a_dropped_record_opened(desk: Any, tmp_path: Path) -> None:
    """With the service as it is started by people, its dispatcher, and the Ray that it starts."""
    from ray_daemons import ray_home

    write_sample(tmp_path / "crawl")
    with ray_home() as home:
        settings = {"home": str(home), "data": str(tmp_path), "port": 0}
        (home / "settings.yaml").write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "pipeline.cli", "serve", "--config", str(home / "settings.yaml")]
        with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as service:
            try:
                _through(desk, until(desk, lambda _: _address(service, tmp_path / "log"), 180))
            finally:
                service.terminate()


def _address(service: subprocess.Popen[bytes], log: Path) -> str | None:
    """Where a service that has started says that it listens."""
    said = log.read_text()
    assert service.poll() is None, said
    found = re.search(r"serving at (http[^;\s]+)", said)
    return found[1] if found else None


def _through(page: Any, address: str) -> None:
    page.get(f"{address}/submit")
    page.execute_script(
        "document.querySelector('textarea').value = arguments[0]",
        "name: by-browser\nsource: {kind: warc, paths: ['crawl/*.warc.gz']}\nrecipe: fineweb\noutput: {path: out}",
    )
    find(page, "button[value=submit]").click()
    until(page, lambda _: page.title.startswith("by-browser"))
    page.execute_script("window.__same = true")
    until(page, lambda _: "complete" in text_of(page, "#title"), 240)
    assert page.execute_script("return window.__same"), "loaded anew instead of kept up"
    assert "383" in text_of(page, "#progress")
    page.find_element("link text", "Records").click()
    page.find_element("link text", "too_few_words").click()
    until(page, lambda _: find(page, ".record a")).click()
    until(page, lambda _: "dropped by gopher_quality: too_few_words" in text_of(page, ".said"))
    assert page.get_log("browser") == []
