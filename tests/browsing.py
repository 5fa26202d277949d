"""Chromium for tests of the service's pages: fixtures (`pytest_plugins = ["browsing"]`), what tests do in it, and two
scripts that look at a page as a person would who sees little, or nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from service_site import Site, served

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


CONTRAST = """
const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const read = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = read(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, style = getComputedStyle(e);
  if (!walker.currentNode.data.trim() || !e.checkVisibility()) continue;
  if (e.closest(".unseen, .skip, noscript, option")) continue;
  const [one, other] = [luminance(read(style.color)), luminance(behind(e))].sort((a, b) => b - a);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 600);
  const ratio = (one + 0.05) / (other + 0.05);
  if (ratio < (large ? 3 : 4.5)) found.push([walker.currentNode.data.trim().slice(0, 40), e.className, ratio]);
}
return found;
"""
"""Texts with less contrast than WCAG 2.2 asks for (success criterion 1.4.3, AA)."""


UNNAMED = """
const wanted = "a[href], button, input:not([type=hidden]), select, textarea, progress, [role=img]";
return [...document.querySelectorAll(wanted)]
  .filter((e) => e.checkVisibility() && !(e.labels && e.labels.length) && !e.innerText?.trim() && !e.textContent.trim()
    && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby"))
  .map((e) => e.outerHTML.slice(0, 120));
"""
"""Controls and pictures that have no name."""


def new_browser(profile: Path, *, scripts: bool = True) -> Any:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver on PATH: make system-deps installs them")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chrome = new_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def scriptless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chrome = new_browser(tmp_path_factory.mktemp("scriptless"), scripts=False)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("service")) as made:
        yield made


@pytest.fixture(params=[("light", 1280), ("dark", 360)], ids=["desktop-light", "phone-dark"])
def screen(browser: Any, request: pytest.FixtureRequest) -> Any:
    scheme, width = request.param
    return on_screen(browser, scheme, width)


@pytest.fixture
def desk(browser: Any) -> Any:
    return on_screen(browser, "light", 1280)


def on_screen(browser: Any, scheme: str, width: int) -> Any:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get("about:blank")  # what was open may still be looking for a server that is gone
    for log in ("browser", "performance"):
        browser.get_log(log)
    return browser


def on_the_network(browser: Any, event: str) -> list[dict[str, Any]]:
    """What DevTools say of events of a kind since the last call, which is forgotten with those of all other kinds."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [each["params"] for each in events if each["method"] == f"Network.{event}"]


def asked_for(browser: Any) -> list[str]:
    """The addresses asked for since the last call."""
    return [each["request"]["url"] for each in on_the_network(browser, "requestWillBeSent")]


def requested(browser: Any) -> set[str]:
    """The hosts asked for anything since the last call; data: and the like have none."""
    return {host for url in asked_for(browser) if (host := urlsplit(url).netloc)}


def until(browser: Any, condition: Callable[[Any], Any], seconds: float = 15) -> Any:
    """Wait for a condition; what it comes to. The page may be replaced while it is looked at."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    passing = (NoSuchElementException, StaleElementReferenceException)
    return WebDriverWait(browser, seconds, poll_frequency=0.1, ignored_exceptions=passing).until(condition)


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def text_of(browser: Any, selector: str) -> str:
    """The text of a part that may be replaced at any time."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def tab_to(browser: Any, selector: str) -> list[str]:
    """Press Tab until an element has the focus; what had it on the way, each of which must be seen to have it."""
    from selenium.webdriver.common.keys import Keys

    passed = []
    for _ in range(60):
        press(browser, Keys.TAB)
        name, here, outline = browser.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.innerText || e.name || e.id, e.matches(arguments[0]), s.outlineStyle + s.outlineWidth]",
            selector,
        )
        assert outline.startswith("solid") and not outline.endswith("solid0px"), f"no sign that {name} has the focus"
        passed.append(name)
        if here:
            return passed
    raise AssertionError(f"{selector} cannot be reached: {passed}")
