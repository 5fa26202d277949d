"""The service's pages in a real browser: what they look like to whom, and that they run nothing that they show."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from browsing import CONTRAST, UNNAMED, find, requested, text_of, until
from service_site import Site

pytestmark = pytest.mark.browser


PATHS = {
    "jobs": "/",
    "filtered": "/?name=nightly&state=complete",
    "nothing": "/?name=there-is-none",
    **{
        kind: f"/jobs/{{{kind}}}" for kind in ("running", "complete", "failed", "hostile", "broken", "huge", "queued-1")
    },
    "log": "/jobs/{hostile}/log",
    "cancel": "/jobs/{running}/cancel",
    "submit": "/submit",
    "like": "/submit?like={complete}",
    "records": "/jobs/{complete}/records",
    "dropped": "/jobs/{complete}/records?outcome=dropped",
    "kept": "/jobs/{complete}/records?outcome=kept&language=eng_Latn",
    "no-records": "/jobs/{complete}/records?url=there-is-none",
    "schedules": "/schedules",
    "schedule": "/schedules/every-crawl",
    "new-schedule": "/schedules/new",
    "remove-schedule": "/schedules/every-crawl/remove",
    "snapshots": "/snapshots",
    "snapshots-of-one": "/snapshots?schedule=newest-only",
    "cluster": "/cluster",
}


@pytest.mark.parametrize("which", PATHS)
def test_page_opens_clean(screen: Any, site: Site, which: str) -> None:
    screen.get(site.address + PATHS[which].format(**site.jobs))
    assert screen.execute_script("return document.contentType") == "text/html"
    assert screen.execute_script("return document.querySelectorAll('h1').length") == 1
    assert screen.execute_script("return document.querySelectorAll('main, header, footer').length") == 3
    assert screen.execute_script("return document.documentElement.lang") == "en"
    levels = screen.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert all(after <= before + 1 for before, after in pairwise(levels)), "a level of headings is left out"
    assert screen.execute_script(UNNAMED) == []
    assert screen.execute_script(CONTRAST) == []
    ids = screen.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(set(ids)) == len(ids)
    assert screen.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    assert screen.execute_script("return window.__pwned === undefined")
    assert requested(screen) == {urlsplit(site.address).netloc}
    assert screen.get_log("browser") == []


def test_stylesheet_follows_the_scheme(screen: Any, site: Site) -> None:
    screen.get(site.address)
    dark = screen.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    colour = screen.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(18, 21, 24)" if dark else "rgb(251, 250, 247)")


def test_markup_that_got_in_would_not_run(desk: Any, site: Site) -> None:
    desk.get(site.page("hostile"))
    desk.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.__pwned = 1\">')")
    desk.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.__pwned = 2'; document.body.append(s)"
    )
    desk.execute_script(
        "const s = document.createElement('style'); s.textContent = 'body{display:none}'; document.body.append(s)"
    )
    assert desk.execute_script("return window.__pwned === undefined && document.body.checkVisibility()")
    assert any("Content Security Policy" in entry["message"] for entry in desk.get_log("browser"))


def test_hostile_strings_are_shown_as_what_they_are(desk: Any, site: Site) -> None:
    desk.get(site.page("hostile"))
    shown = text_of(desk, "main")
    assert "<script>window.__pwned = 'script'</script>" in shown
    assert "invoice⟨U+202E⟩gpj.exe⟨U+202C⟩" in shown
    assert "{{ 7 * 7 }}" in shown
    until(desk, lambda _: "esc⟨U+001B⟩[31m" in text_of(desk, "[data-tail]"))
    links = desk.execute_script("return [...document.links].map(a => a.protocol)")
    assert set(links) == {"http:"}


def test_shards_are_drawn_and_counted(desk: Any, site: Site) -> None:
    desk.get(site.page("running"))
    assert find(desk, "svg.grid title").get_property("textContent") == "371 done, 24 running, 244 waiting, 1 unreadable"
    assert " ".join(find(desk, ".legend").text.split()) == "371 done 24 running 244 waiting 1 could not be read"
    subpaths = "return document.querySelector('svg.grid path.done').getAttribute('d').split('M').length - 1"
    assert desk.execute_script(subpaths) == 371
    desk.get(site.page("huge"))
    assert "A mark stands for up to 45 shards" in text_of(desk, "#pictures")
    assert desk.execute_script("return document.querySelectorAll('svg.grid *').length") < 20


def test_a_dropped_record_says_why(desk: Any, site: Site) -> None:
    desk.get(site.page("complete", "/records"))
    desk.find_element("link text", "too_few_words").click()
    until(desk, lambda _: find(desk, "#found-h"))
    assert "selected" in find(desk, "option[value=too_few_words]").get_attribute("outerHTML")
    find(desk, ".record a").click()
    until(desk, lambda _: find(desk, "#measures-h"))
    assert "dropped by gopher_quality: too_few_words" in text_of(desk, ".said")
    (hit,) = desk.find_elements("css selector", "tr.hit")
    assert "≥ 50" in hit.text and "words" in hit.text
    assert len(text_of(desk, "pre.text")) > 20


def test_a_duplicate_stands_beside_what_it_repeats(screen: Any, site: Site) -> None:
    screen.get(site.page("complete", "/records?stage=minhash&reason=near_duplicate"))
    find(screen, ".record a").click()
    until(screen, lambda _: find(screen, "#pair-h"))
    one, other = (each.rect for each in screen.find_elements("css selector", ".pair > div"))
    wide = screen.execute_script("return innerWidth") > 600
    assert (one["y"] == other["y"]) == wide
    assert screen.find_elements("css selector", ".pair mark")
    assert screen.execute_script(CONTRAST) == []
    assert screen.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    find(screen, ".pair a").click()
    until(screen, lambda _: "kept" in text_of(screen, ".title"))
    assert "near duplicate" in text_of(screen, ".said")
    assert "One that left for it" in text_of(screen, "#pair-h + * + *") + text_of(screen, ".pair")


def test_records_are_paged_and_looked_up_by_pattern(desk: Any, site: Site) -> None:
    desk.get(site.page("complete", "/records?outcome=dropped"))
    seen: list[str] = []
    while True:
        seen += [each.get_attribute("href") for each in desk.find_elements("css selector", ".record a")]
        later = desk.find_elements("css selector", "a[rel=next]")
        if not later:
            break
        desk.get(later[0].get_attribute("href"))
    assert len(seen) == len(set(seen)) == 263
    desk.get(site.page("complete", "/records"))
    find(desk, "#url").send_keys("https://www.parish.example/*")
    find(desk, "form.filters button").click()
    until(desk, lambda _: find(desk, "#found-h"))
    urls = [each.text for each in desk.find_elements("css selector", ".record a")]
    assert urls and all(url.startswith("https://www.parish.example/") for url in urls)


def test_a_reason_that_cannot_be_is_said_to_be_none(desk: Any, site: Site) -> None:
    desk.get(site.page("complete", "/records?reason=too_few_word"))
    assert "too_few_words" in text_of(desk, "[role=alert]")


def test_the_report_has_a_way_back_and_runs_nothing(desk: Any, site: Site) -> None:
    desk.get(site.page("complete", "/report"))
    assert "report of a run" in text_of(desk, "header")
    assert desk.get_log("browser") == []
    desk.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.__pwned = 1\">')")
    assert desk.execute_script("return window.__pwned === undefined")
    desk.find_element("css selector", "a").click()
    until(desk, lambda _: desk.title.startswith("sample-crawl"))


def test_snapshots_stand_in_their_weeks(desk: Any, site: Site) -> None:
    desk.get(f"{site.address}/snapshots?schedule=every-crawl")
    years = [each.text for each in desk.find_elements("css selector", ".year h3")]
    assert years == ["2026", "2025", "2024", "2023", "2022"]
    place = """
        const cell = document.querySelector('a[href="#CC-MAIN-2026-08"]').parentElement;
        return [...cell.parentElement.children].indexOf(cell);
    """
    assert desk.execute_script(place) == 7
    assert "complete" in find(desk, "a[href='#CC-MAIN-2026-08']").get_attribute("class")
    assert "due" in find(desk, "a[href='#CC-MAIN-2026-43']").get_attribute("class")
    find(desk, "a[href='#CC-MAIN-2026-08']").click()
    assert "processed" in find(desk, "tr:target").text


def test_a_cluster_that_is_away_is_said_to_be(desk: Any, site: Site) -> None:
    site.cluster.down = True
    try:
        desk.get(f"{site.address}/cluster")
        until(desk, lambda _: desk.refresh() or "does not answer" in text_of(desk, "#nodes"))
        desk.get(site.page("running", "/log"))
        assert "does not answer" in text_of(desk, "#log")
    finally:
        site.cluster.down = False
