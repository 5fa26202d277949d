"""What people do on the service's pages, in a real browser: by keyboard, without scripts, signed in and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import find, on_screen, press, tab_to, text_of, until
from service_site import Site, served, under_way

from pipeline.service import jobs, tokens
from pipeline.service.jobs import State
from pipeline.service.scheduling import schedules

pytestmark = pytest.mark.browser


def test_a_job_is_submitted_by_keyboard_alone(desk: Any, site: Site) -> None:
    from selenium.webdriver.common.keys import Keys

    desk.get(site.address)
    passed = tab_to(desk, "a.button.main")
    assert passed[0] == "Skip to the content"
    assert passed[1:6] == ["crawlmill", "Jobs", "Schedules", "Snapshots", "Cluster"]
    press(desk, Keys.ENTER)
    until(desk, lambda _: desk.title.startswith("Submit a job"))
    tab_to(desk, "textarea")
    desk.execute_script("document.activeElement.select()")
    press(desk, "name: by-keyboard\nsource: {kind: warc, paths: [crawl/*.warc.gz]}\noutput: {path: out/by-keyboard}")
    tab_to(desk, "button[value=submit]")
    press(desk, Keys.ENTER)
    until(desk, lambda _: desk.title.startswith("by-keyboard"))
    with site.service.database.read() as connection:
        (made,) = jobs.find(connection, name="by-keyboard").jobs
    assert (made.state, made.created_by, made.team) == (State.QUEUED, "local", "default")
    assert desk.current_url.endswith(made.id)


def test_a_form_that_is_sent_twice_is_one_job(desk: Any, site: Site) -> None:
    desk.get(f"{site.address}/submit")
    desk.execute_script(
        """
        const f = document.querySelector("form.form");
        f.spec.value = f.spec.value.replaceAll("my-first-job", "twice");
        const body = new URLSearchParams([...new FormData(f), ["do", "submit"]]);
        const send = () => fetch("/submit", {method: "POST", body}).then((answer) => answer.url);
        window.sent = Promise.all([send(), send()]);
        """
    )
    one, other = desk.execute_async_script("window.sent.then(arguments[0])")
    assert one == other
    with site.service.database.read() as connection:
        assert len(jobs.find(connection, name="twice").jobs) == 1


@pytest.mark.parametrize(
    "spec, said",
    [
        ("name: x\nsource: {kind: warc, paths: [a]}\noutput: {pth: out}", "output.pth: unknown; did you mean path?"),
        ("name: [", "not valid YAML"),
        ("name: <b>x</b>\nsource: {kind: warc, paths: [a]}\noutput: {path: out}", "name: write letters, digits"),
    ],
)
@pytest.mark.parametrize("do", ["check", "submit"])
def test_what_is_wrong_with_a_job_is_said_in_one_line(desk: Any, site: Site, spec: str, said: str, do: str) -> None:
    desk.get(f"{site.address}/submit")
    desk.execute_script("document.querySelector('textarea').value = arguments[0]", spec)
    find(desk, f"button[value={do}]").click()
    until(desk, lambda _: said in text_of(desk, "[role=alert]"))
    area = find(desk, "textarea")
    assert area.get_property("value") == spec
    assert area.get_attribute("aria-invalid") == "true"
    assert "fault" in area.get_attribute("aria-describedby")


def test_a_job_is_checked(desk: Any, site: Site) -> None:
    desk.get(f"{site.address}/submit")
    find(desk, "button[value=check]").click()
    until(desk, lambda _: text_of(desk, "#plan"), 60)
    plan = text_of(desk, "#plan")
    assert "4 files" in plan
    assert "gopher_quality" in plan
    with site.service.database.read() as connection:
        assert jobs.find(connection, name="my-first-job").jobs == []


def test_a_job_is_cancelled_after_a_question_and_tried_again(desk: Any, site: Site) -> None:
    desk.get(site.page("queued-0"))
    find(desk, "#cancel").click()
    until(desk, lambda _: "Cancel cc-2026-43-fra?" in text_of(desk, "h1"))
    assert site.job("queued-0").state == State.QUEUED
    find(desk, "main button").click()
    until(desk, lambda _: "cancelled" in text_of(desk, "#title"))
    find(desk, "#retry").click()
    until(desk, lambda _: "queued" in text_of(desk, "#title"))
    assert "tried again by local" in text_of(desk, "#trail")


def test_jobs_are_filtered_and_paged(desk: Any, site: Site) -> None:
    desk.get(site.address)
    find(desk, "#name").send_keys("nightly")
    find(desk, "form.filters button").click()
    until(desk, lambda _: "Found" in text_of(desk, "#over-h"))
    first = [each.text for each in desk.find_elements("css selector", ".job .name a")]
    find(desk, "a[rel=next]").click()
    until(desk, lambda _: "cursor=" in desk.current_url)
    second = [each.text for each in desk.find_elements("css selector", ".job .name a")]
    assert sorted(first + second, reverse=True) == first + second
    assert {f"nightly-{n:02}" for n in range(30)} <= set(first + second)


def test_a_schedule_is_added_paused_and_what_waits_is_tried_again(desk: Any, site: Site) -> None:
    desk.get(f"{site.address}/schedules/new")
    find(desk, "#name").send_keys("weekly")
    find(desk, "input[value=cron]").click()
    find(desk, "form.form button").click()
    until(desk, lambda _: "{snapshot}: no variable here" in text_of(desk, "[role=alert]"))
    job = "name: '{schedule}-{date}'\nsource: {kind: warc, paths: [crawl/*.gz]}\noutput: {path: 'out/{date}'}"
    desk.execute_script("document.getElementById('job').value = arguments[0]", job)
    find(desk, "form.form button").click()
    until(desk, lambda _: desk.title.startswith("Schedule weekly"))
    assert "0 6 * * MON (UTC)" in text_of(desk, "main")
    desk.find_element("xpath", "//button[text()='Pause']").click()
    until(desk, lambda _: "paused" in text_of(desk, ".title"))
    with site.service.database.read() as connection:
        assert schedules.get(connection, "weekly").paused
    desk.get(f"{site.address}/schedules/every-crawl")
    find(desk, "button[aria-label='Retry CC-MAIN-2026-25']").click()
    until(desk, lambda _: "active" in text_of(desk, "tbody"))
    assert not desk.find_elements("css selector", "button[aria-label='Retry CC-MAIN-2026-25']")


def test_nothing_needs_scripts(scriptless: Any, site: Site) -> None:
    page = scriptless
    page.get(site.address)
    assert not find(page, "#live-pause").is_displayed()
    find(page, "#name").send_keys("refetch")
    find(page, "form.filters button").click()
    page.find_element("link text", "refetch-pdf").click()
    with site.service.database.read() as connection:
        ahead = [job.name for job in jobs.active(connection) if job.state == State.QUEUED].index("refetch-pdf")
    assert f"behind {ahead}" in find(page, "#progress").text
    page.find_element("link text", "Cancel…").click()
    find(page, "main form button").click()
    assert "cancelled" in find(page, "#title").text
    page.get(f"{site.address}/submit")
    area = find(page, "textarea")
    area.clear()
    area.send_keys("name: without-scripts\nsource: {kind: warc, paths: [crawl/*.gz]}\noutput: {path: out/without}")
    find(page, "button[value=submit]").click()
    until(page, lambda _: page.title.startswith("without-scripts"))
    page.get(site.page("running"))
    site.progress("running", under_way(640, 600))
    until(page, lambda _: "600" in find(page, "#progress").text)  # it loads itself again


def test_a_token_lets_in_and_its_role_says_how_far(tmp_path: Path, browser: Any) -> None:
    page = on_screen(browser, "light", 1280)
    with served(tmp_path, old=False) as site:
        with site.service.database.write() as connection:
            reader = tokens.create(connection, "rita", "web", "read")
            writer = tokens.create(connection, "wim", "web", "submit")
        wanted = f"{site.address}/schedules?from=chat"
        page.get(wanted)
        assert page.title.startswith("Sign in")
        for token, said in (("cm_wrong", "No such token"), (reader, "rita")):
            find(page, "#token").send_keys(token)
            find(page, "form.form button").click()
            until(page, lambda _, said=said: said in text_of(page, "body"))
        assert page.current_url == wanted
        assert page.execute_script("return document.cookie") == ""
        (cookie,) = page.get_cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.get(site.address)
        assert not page.find_elements("link text", "Submit a job")
        page.get(f"{site.address}/submit")
        assert "may read only" in text_of(page, "[role=alert]")
        page.find_element("xpath", "//button[text()='Sign out']").click()
        until(page, lambda _: page.title.startswith("Sign in"))
        page.get(f"{site.address}/login?next=//evil.example/")
        find(page, "#token").send_keys(writer)
        find(page, "form.form button").click()
        until(page, lambda _: page.title.startswith("Jobs"))
        assert page.find_elements("link text", "Submit a job")
        with site.service.database.write() as connection:
            tokens.revoke(connection, "wim")
        page.refresh()
        assert page.title.startswith("Sign in")
        page.delete_all_cookies()


def test_a_link_from_elsewhere_finds_whoever_is_signed_in(tmp_path: Path, browser: Any) -> None:
    """A browser holds a SameSite=Strict cookie back on a way that begins at another site."""
    page = on_screen(browser, "light", 1280)
    with served(tmp_path, old=False) as site:
        with site.service.database.write() as connection:
            token = tokens.create(connection, "wim", "web", "submit")
        page.get(f"{site.address}/login")
        find(page, "#token").send_keys(token)
        find(page, "form.form button").click()
        until(page, lambda _: page.title.startswith("Jobs"))
        page.get(f"data:text/html,<a href='{site.address}/cluster'>look</a>")
        page.find_element("link text", "look").click()
        until(page, lambda _: page.title.startswith("Cluster"))
        page.delete_all_cookies()
