"""The report in a real browser: nothing it shows runs, nothing is fetched, and all of it fits a phone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from browsing import on_screen
from invented_run import HOSTILE, manifest, write_run

from pipeline.report.page import write_report

pytestmark = pytest.mark.browser

SECTIONS = [
    *("account", "funnel", "drops", "languages", "domains", "duplicates", "shards"),
    *("dropped-records", "kept-records", "recipe", "provenance"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server on this machine offers two reports: /nice/report.html and /hostile/report.html."""
    root = tmp_path_factory.mktemp("reports")
    write_report(write_run(root / "nice", manifest()))
    write_report(write_run(root / "hostile", manifest(words=HOSTILE), HOSTILE))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(params=[("light", 1280), ("dark", 390)], ids=["desktop-light", "phone-dark"])
def screen(browser: Any, request: pytest.FixtureRequest) -> Any:
    scheme, width = request.param
    return on_screen(browser, scheme, width)


def requested(browser: Any) -> list[str]:
    """Every address asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("report", ["nice", "hostile"])
def test_report_opens_clean(screen: Any, address: str, report: str) -> None:
    url = f"{address}/{report}/report.html"
    requested(screen)
    screen.get(url)
    screen.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert screen.execute_script("return document.querySelectorAll('details[open] .records li').length") > 400
    assert [asked for asked in requested(screen) if not asked.startswith("data:")] == [url]
    assert screen.get_log("browser") == []
    assert screen.execute_script("return window.__pwned === undefined")
    assert screen.execute_script("return document.scripts.length + document.images.length") == 0
    shown = "return [...document.querySelectorAll('section')].filter(s => s.innerText.length > 20).map(s => s.id)"
    assert screen.execute_script(shown) == SECTIONS
    assert screen.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"


def test_stylesheet_applies_and_follows_the_scheme(screen: Any, address: str) -> None:
    screen.get(f"{address}/nice/report.html")
    style = "return getComputedStyle(document.body)"
    dark = screen.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert screen.execute_script(f"{style}.backgroundColor") == ("rgb(20, 23, 26)" if dark else "rgb(252, 251, 249)")


def test_script_that_got_in_would_not_run(screen: Any, address: str) -> None:
    """The policy holds by itself: markup that slipped past escaping would still be dead."""
    screen.get(f"{address}/nice/report.html")
    screen.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.__pwned = 1\">')")
    screen.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.__pwned = 2'; document.body.append(s)"
    )
    assert screen.execute_script("return window.__pwned === undefined")
    assert any("Content Security Policy" in entry["message"] for entry in screen.get_log("browser"))


def test_reason_leads_to_its_records_by_keyboard(screen: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    screen.get(f"{address}/nice/report.html")
    link = screen.find_element("xpath", "//section[@id='drops']//a[text()='too_few_words']")
    link.send_keys(Keys.ENTER)
    (opened,) = screen.find_elements("css selector", "details[open]")
    assert "too_few_words" in opened.find_element("css selector", "summary").text
    assert len(opened.find_elements("css selector", "li")) == 20


def test_members_of_a_cluster_stand_side_by_side_or_stacked(screen: Any, address: str) -> None:
    screen.get(f"{address}/nice/report.html")
    screen.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    pairs = screen.find_elements("css selector", "#duplicates .pair")
    assert len(pairs) == 20
    one, other = (each.rect for each in pairs[0].find_elements("xpath", "./div"))
    wide = screen.execute_script("return innerWidth") > 600
    assert (one["y"] == other["y"] and other["x"] >= one["x"] + one["width"]) == wide
    assert (one["x"] == other["x"] and other["y"] >= one["y"] + one["height"]) == (not wide)
    marks = [mark.text.strip() for mark in pairs[0].find_elements("css selector", "mark")]
    assert {"The", "end", "Or", "not"} <= {word for mark in marks for word in mark.rstrip(".").split()}


def test_text_of_a_right_to_left_page_keeps_its_direction(screen: Any, address: str) -> None:
    screen.get(f"{address}/nice/report.html")
    screen.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    excerpt = screen.find_element("css selector", "pre[lang='arb-Arab']")
    assert screen.execute_script("return getComputedStyle(arguments[0]).direction", excerpt) == "rtl"
    assert (
        screen.execute_script("return getComputedStyle(arguments[0]).direction", excerpt.find_element("xpath", ".."))
        == "ltr"
    )
