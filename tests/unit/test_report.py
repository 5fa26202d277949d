"""The report and the card of a run: whatever a crawl brings stays text, and what does not add up is said aloud."""

from __future__ import annotations

import random
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from invented_run import HOSTILE, manifest, parquet_bytes, write_run
from markdown_it import MarkdownIt

from pipeline.report import figures, shape
from pipeline.report.card import MAX_NAME, render_card, write_card
from pipeline.report.page import render, write_report
from pipeline.report.samples import EXCERPT, PER_REASON, Sample, Samples, read_samples
from pipeline.report.visible import line, visible
from pipeline.store import Store

ELEMENTS = re.compile(
    r"html|head|meta|link|title|style|body|header|main|nav|section|aside|p|h[123]|span|b|i|strong|a|d[ltd]|div|[uo]l|li"
    r"|table|thead|tbody|t[rhd]|details|summary|pre|bdi|svg|rect|mark"
)
ATTRIBUTES = re.compile(
    r"lang|charset|http-equiv|content|name|rel|href|class|id|aria-(label|labelledby|hidden)|focusable|role|scope|tabindex"
    r"|dir|title|x|width|height"
)
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        self.text[self._in] = self.text.get(self._in, "") + data


def poisoned(value: Any, words: list[str]) -> Any:
    """The same structure with every string, but those that the writer chooses, replaced by something hostile."""
    if isinstance(value, dict):
        fixed = {"outcome"}
        return {key: inner if key in fixed else poisoned(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, words) for inner in value]
    if isinstance(value, str):
        words.append(words.pop(0))
        return words[0] + value
    return value


def hostile_samples(run: dict[str, Any]) -> Samples:
    texts = [*HOSTILE, "lone \ud800 surrogate", "x" * EXCERPT]
    names = ("url", "detail", "shard", "language", "date", "dump")
    numbers = {
        "value": float("nan"),
        "threshold": None,
        "offset": 1,
        "ordinal": 2,
        "language_score": 0.5,
        "token_count": 3,
    }
    records = [Sample(dict.fromkeys(names, text) | numbers, text, 10**6) for text in texts]
    return Samples({(drop["stage"], drop["reason"]): records for drop in run["drops"]}, records)


@pytest.fixture(scope="module")
def hostile_page() -> str:
    run = poisoned(manifest(), [*HOSTILE, "lone \ud800 surrogate", "long " * 100_000])
    return render(run, hostile_samples(run))


def test_hostile_strings_bring_no_element_no_attribute_and_no_address(hostile_page: str) -> None:
    page = Page(hostile_page)
    assert all(ELEMENTS.fullmatch(tag) for tag, _ in page.found)
    assert all(ATTRIBUTES.fullmatch(name) for _, attributes in page.found for name in attributes)
    assert {href[:1] for _, attributes in page.found if (href := attributes.get("href"))} == {"#", "d"}
    assert "<script>window.__pwned = 'script'</script>" in page.text["bdi"]


def test_hostile_strings_hide_nothing(hostile_page: str) -> None:
    assert not UNSEEN.search(hostile_page)
    assert "invoice⟨U+202E⟩gpj.exe⟨U+202C⟩" in hostile_page
    assert "lone ⟨U+D800⟩ surrogate" in hostile_page
    assert len(hostile_page.encode()) < 4e6


def test_policy_allows_the_one_stylesheet_and_nothing_else(hostile_page: str) -> None:
    page = Page(hostile_page)
    (policy,) = [a["content"] for _, a in page.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "script" not in policy
    digest = b64encode(sha256(page.text["style"].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in page.text["style"] and "@import" not in page.text["style"]


def test_same_run_same_page_and_card(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        store = write_run(tmp_path / name, manifest())
        write_report(store)
        write_card(store)
        pages.append((store.read_bytes("report.html"), store.read_bytes("README.md")))
    assert pages[0] == pages[1]


def test_run_that_read_nothing_says_so(tmp_path: Path) -> None:
    store = write_run(tmp_path, manifest(0, 0))
    write_report(store)
    write_card(store)
    page = store.read_bytes("report.html").decode()
    for says in (
        "No records were read",
        "Nothing was dropped",
        "No language was measured",
        "No records were kept",
        "✓ adds up",
    ):
        assert says in page


def test_run_of_90_000_shards_stays_readable() -> None:
    run = manifest(2_900_000_000, 90_000)
    for shard in run["shards"]:
        shard["damage"] = [{"offset": 1, "bytes": 2, "cause": "gzip member ends early"}]
    run["failed_shards"] = [{"path": f"crawl/{n}.arc.gz", "bytes": 1, "cause": "ARC"} for n in range(1000)]
    run["domains"] *= 1000
    page = render(run, Samples())
    assert len(page) < 500_000
    assert "980 more failed shards not shown" in page
    assert "89,970 more shards not shown" in page
    assert "89,950 more damaged stretches not shown" in page


def test_many_reasons_with_long_texts_stay_within_a_few_megabytes() -> None:
    run = manifest()
    run["drops"] = [{"stage": f"s{n}", "reason": f"r{n}", "outcome": "dropped", "count": 1} for n in range(5000)]
    record = Sample(
        dict.fromkeys(("url", "detail", "language", "value", "threshold", "ordinal"), None)
        | {"shard": "a", "offset": 0},
        "字" * EXCERPT,
        10**7,
    )
    page = render(run, Samples({reason: [record] * PER_REASON for reason in shape.shown_reasons(run)}))
    assert len(page.encode()) < 8e6
    assert "4,900 more reasons not shown" in page


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("totals", "kept"), "records read = kept + dropped + failed"),
        (("totals", "records_read"), "records read = sum over shards"),
        (("shards", 3, "read"), "records read = sum over shards"),
        (("shards", 3, "failed"), "failed = sum over shards"),
        (("drops", 2, "count"), "dropped = sum over reasons"),
        (("funnel", 4, "out"), "gopher_repetition: in = dropped + failed + out"),
        (("files", 0, "rows"), "kept = rows in data/"),
    ],
)
def test_account_that_does_not_add_up_is_said_aloud(path: tuple[Any, ...], says: str) -> None:
    run = manifest()
    assert shape.gaps(run) == []
    assert "does not add up" not in render(run, Samples())
    at = run
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] += 7
    page = render(run, Samples())
    assert "The account does not add up" in page
    assert says in page
    assert "Do not use this data" in render_card(run)


def test_failed_run_says_so() -> None:
    run = manifest() | {"state": "failed", "files": []}
    assert "This run did not complete" in render(run, Samples())
    assert "Do not use this data" in render_card(run)


def test_samples_are_the_first_drawn_of_each_reason(tmp_path: Path) -> None:
    draw, store = random.Random(3), Store(str(tmp_path))
    reasons = [("a", "common"), ("a", "rare"), ("b", "common")]
    rows: list[dict[str, Any]] = [
        {"stage": stage, "reason": reason, "sample": draw.getrandbits(64), "text": "é" * (EXCERPT + 9), "url": f"u{n}"}
        for n in range(700)
        for stage, reason in [reasons[1] if n % 100 == 0 else reasons[draw.choice((0, 2))]]
    ]
    for file in range(3):
        store.write_atomic(f"dropped/part-{file}.parquet", parquet_bytes(rows[file::3]))
    found = read_samples(store, [], [*reasons, ("c", "never")]).dropped
    assert list(found) and set(found) == set(reasons)
    for reason in reasons:
        own = sorted((row for row in rows if (row["stage"], row["reason"]) == reason), key=lambda row: row["sample"])
        assert [sample.columns["url"] for sample in found[reason]] == [row["url"] for row in own[:PER_REASON]]
        assert {(sample.text, sample.characters) for sample in found[reason]} == {("é" * EXCERPT, EXCERPT + 9)}


def test_kept_samples_are_spread_over_files_and_rows(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    paths = [f"data/part-{n}.parquet" for n in range(8)]
    for path in paths:
        store.write_atomic(path, parquet_bytes([{"text": f"{path} {n}", "url": str(n)} for n in range(100)]))
    kept = read_samples(store, paths, []).kept
    assert len(kept) == 20
    assert len({str(sample.text).split()[0] for sample in kept}) == 5
    assert {sample.columns["url"] for sample in kept} == {"0", "16", "32", "48"}


def test_run_without_dropped_texts_has_no_samples(tmp_path: Path) -> None:
    assert read_samples(Store(str(tmp_path)), [], [("a", "b")]).dropped == {}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x00b\x1b\x7f", "a⟨U+0000⟩b⟨U+001B⟩⟨U+007F⟩"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("\u202egpj\u2069\u200f\u2028\ufeff\ufffe", "⟨U+202E⟩gpj⟨U+2069⟩⟨U+200F⟩⟨U+2028⟩⟨U+FEFF⟩⟨U+FFFE⟩"),
        ("\udfff \U000e0041", "⟨U+DFFF⟩ ⟨U+E0041⟩"),
        ("e" + "\u0301" * 99, "e" + "\u0301" * 8),
        ("नमस्ते می\u200cخواهم 👩\u200d🔬", "नमस्ते می\u200cخواهم 👩\u200d🔬"),
    ],
)
def test_unseen_characters_get_names_and_writing_stays(text: str, seen: str) -> None:
    assert visible(text, lines=True) == seen


def test_line_is_one_line_of_bounded_length() -> None:
    assert line("a\nb", 9) == "a⟨U+000A⟩"[:8] + "…"
    assert len(line("\x00" * 10**6, 400)) == 400


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        (figures.count(9_999), "9,999"),
        (figures.count(12_345), "12.3 k"),
        (figures.count(999_950), "1 M"),
        (figures.count(2_847_113), "2.85 M"),
        (figures.size(0), "0 B"),
        (figures.size(3_400_000_000), "3.4 GB"),
        (figures.size(7 * 10**18), "7,000 PB"),
        (figures.share(1, 10**6), "< 0.1 %"),
        (figures.share(10**6 - 1, 10**6), "> 99.9 %"),
        (figures.share(0, 0), "—"),
        (figures.share(1, 3), "33.3 %"),
        (figures.duration(59.97), "1 min 00 s"),
        (figures.duration(98_765), "27 h 26 min"),
        (figures.measure(float("inf")), "—"),
        (figures.measure(0.123456), "0.1235"),
        (figures.measure(100_000.0), "100,000"),
    ],
)
def test_figures_read_well(written: str, reads: str) -> None:
    assert written.replace(figures.NARROW, " ") == reads


def test_card_is_what_the_hub_reads() -> None:
    _, front, body = render_card(manifest()).split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["language"] == ["eng"]
    assert said["size_categories"] == ["100K<n<1M"]
    assert said["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]
    recipe = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", body, re.DOTALL)[0])
    assert recipe["stages"][4] == {
        "gopher_quality": {"min_words": 50, "max_words": 100000, "mean_word_length": [3.0, 10.0]}
    }


def test_card_of_a_partitioned_dataset_reads_all_its_folders() -> None:
    run = manifest()
    for file in run["files"]:
        file["path"] = file["path"].replace("data/", "data/language=eng_Latn/")
    assert 'data_files="data/**/*.parquet"' in render_card(run)


@pytest.mark.parametrize(
    "trick",
    [
        *HOSTILE,
        "`code`",
        "``two``",
        "a | b",
        "```\n# out\n",
        "[x](//evil.example)",
        "![x](//evil.example)",
        "**b**",
        "&lt;",
    ],
)
def test_names_in_a_card_are_no_markup(trick: str) -> None:
    run = poisoned(manifest(), [trick])
    for row in run["languages"]:
        row["kept"] = 1
    front, body = render_card(run).removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(front)["license"] == "other"
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    spans = [inner for token in tokens for inner in token.children or ()]
    assert not {token.type for token in [*tokens, *spans]} & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "em_open",
    }
    assert len([token for token in tokens if token.type == "fence"]) == 4
    codes = {token.content for token in spans if token.type == "code_inline"}
    for drop in run["drops"]:
        assert line(drop["reason"], MAX_NAME) in codes
    rows = [token for token in tokens if token.type == "tr_open"]
    cells = [token for token in tokens if token.type in ("td_open", "th_open")]
    drops, languages = len(run["drops"]), len(run["languages"])
    assert len(rows) == 5 + 1 + drops + 1 + languages
    assert len(cells) == 3 * 5 + 4 * (1 + drops) + 3 * (1 + languages)
