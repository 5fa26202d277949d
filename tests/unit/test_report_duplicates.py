"""What the report says of duplicates: counts, domains, and two members of a cluster with what differs between them."""

from __future__ import annotations

import itertools
import random
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invented_run import HOSTILE, manifest, parquet_bytes, write_run

from pipeline.report.duplicates import EXCERPT, MAX_CLUSTERS, compared, duplicates_of, in_common
from pipeline.report.page import render, write_report
from pipeline.report.samples import Samples, read_samples
from pipeline.store import Store


def marked(pieces: list[tuple[bool, str]]) -> str:
    return "".join(text if shared else f"[{text}]" for shared, text in pieces)


def section(page: str) -> str:
    found = re.search(r'<section id="duplicates".*?</section>', page, re.DOTALL)
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("one", "other", "first", "second"),
    [
        ("a b c", "a b c", "a b c", "a b c"),
        ("a b c", "a x c", "a [b ]c", "a [x ]c"),
        ("a b c d", "b c e", "[a ]b c [d]", "b c [e]"),
        ("a  b\n\nc", "a b c", "a  b\n\nc", "a b c"),
        ("The end.", "The End!", "The [end.]", "The [End!]"),
        ("朝の市場", "朝市場で", "朝[の]市場", "朝市場[で]"),
        ("बारिश के बाद", "बारिश की बाद", "बारिश [के ]बाद", "बारिश [की ]बाद"),
        ("", "a", "", "[a]"),
        (" \n ", "", "", ""),
    ],
)
def test_what_differs_is_marked_word_by_word(one: str, other: str, first: str, second: str) -> None:
    assert tuple(map(marked, compared(one, other))) == (first, second)


def test_what_two_sequences_share_is_as_long_as_can_be() -> None:
    draw = random.Random(5)
    for _ in range(200):
        one, other = ([draw.randrange(3) for _ in range(draw.randrange(8))] for _ in range(2))
        shared = in_common(*(np.array(some, np.int32) for some in (one, other)))
        mine = [[item for item, here in zip(some, where) if here] for some, where in zip((one, other), shared)]
        assert mine[0] == mine[1]
        longer = itertools.combinations(one, len(mine[0]) + 1)
        assert not any(all(item in rest for item in some) for some in longer for rest in [iter(other)])


@pytest.mark.parametrize(
    ("one", "other"),
    [("x y " * 10**6, "y x x " * 10**6), ("字" * 10**6, "字学" * 10**6), ("!" * 10**6, "?!" * 10**6)],
)
def test_no_two_texts_take_long_to_compare(one: str, other: str) -> None:
    start = time.process_time()
    pieces = compared(one, other)
    assert time.process_time() - start < 2  # 0.1 s; what comes with Python takes a minute for the first
    assert all(len("".join(text for _, text in some)) <= EXCERPT for some in pieces)


def test_members_of_a_cluster_are_shown_with_what_differs() -> None:
    page = section(render(manifest(), Samples()))
    assert page.count('<div class="pair">') == MAX_CLUSTERS
    assert "<mark>The end</mark>." in page
    assert "<mark>Or not</mark>." in page
    assert '34.2\u202fk</span> records</span> <span class="note">similarity 0.71</span>' in page
    assert page.count("No text.") == 1
    assert "similarity —</span>" in page


def test_the_largest_clusters_come_first_and_the_rest_is_counted() -> None:
    run = manifest()
    run["clusters"] = sorted(run["clusters"] * 3, key=lambda cluster: cluster["size"])
    found = duplicates_of(run)
    assert found is not None
    sizes = [cluster.size for cluster in found.clusters.rows]
    assert sizes == sorted((cluster["size"] for cluster in run["clusters"]), reverse=True)[:MAX_CLUSTERS]
    assert "40 more clusters not shown" in section(render(run, Samples()))


def test_counts_are_shares_of_what_came_to_the_stage() -> None:
    run = manifest()
    found = duplicates_of(run)
    assert found is not None
    came = {row["stage"]: row["in"] for row in run["funnel"]}
    assert {(row["stage"], row["reason"]): round(row["count"] / came[row["stage"]], 2) for row in found.stages} == {
        ("dedup_text", "duplicate_text"): 0.03,
        ("minhash", "near_duplicate"): 0.19,
        ("minhash", "duplicate_in_index"): 0.06,
    }
    assert found.total == sum(row["count"] for row in found.stages)
    assert "19.0\u202f%" in section(render(run, Samples()))


def test_records_without_text_are_no_duplicates() -> None:
    run = manifest()
    run["drops"].append({"stage": "dedup_text", "reason": "unsupported_type", "outcome": "dropped", "count": 7})
    found = duplicates_of(run)
    assert found is not None
    assert "unsupported_type" not in {row["reason"] for row in found.stages}


def without_meetings(run: dict[str, Any]) -> dict[str, Any]:
    """A manifest as it was written before there were any."""
    run["recipe"] = {**run["recipe"], "stages": [s for s in run["recipe"]["stages"] if "prefer" not in s]}
    del run["clusters"], run["duplicates"]
    return run


def test_a_run_that_looked_for_none_has_no_section() -> None:
    page = render(without_meetings(manifest()), Samples())
    assert section(page) == ""
    assert "#duplicates" not in page


def test_a_run_that_found_none_says_so() -> None:
    page = section(render(manifest(0, 0), Samples()))
    assert "None were found" in page
    assert "clusters" not in page


def test_hostile_members_bring_no_markup() -> None:
    run = manifest(words=[*HOSTILE, "lone \ud800 surrogate", "\x00" * 10**5, "<mark>" * 10**4])
    page = section(render(run, Samples()))
    assert len(page) < 10**6
    assert set(re.findall(r"<(\w+)", page)) <= {
        *("section", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "span", "svg", "rect", "bdi", "a"),
        *("details", "summary", "div", "b", "pre", "mark"),
    }
    assert not re.search("[\x00\x1b\u202e\ud800]", page)
    assert "&lt;script&gt;" in page


def test_a_sampled_duplicate_names_what_it_repeats(tmp_path: Path) -> None:
    store = write_run(tmp_path, manifest())
    reasons = [("minhash", "near_duplicate"), ("gopher_quality", "too_few_words")]
    found = read_samples(store, [], reasons, [("minhash", "near_duplicate")]).dropped
    for sample in found[reasons[0]]:
        place = f"{sample.columns['ordinal']}-{sample.columns['offset']}"
        assert sample.columns["duplicate_of"] == f"<urn:uuid:original-{place}>"
    assert not any("duplicate_of" in sample.columns for sample in found[reasons[1]])
    write_report(store)
    page = store.read_bytes("report.html").decode()
    assert page.count('<span>repeats <bdi class="code">&lt;urn:uuid:original-') == 3 * 20
    assert "<span>stands for 200 records</span>" not in page  # few of the kept are shown
    assert "<span>stands for 10 records</span>" in page
    assert "<span>stands for 1 records</span>" not in page


def test_one_ledger_is_read_for_each_file_that_a_sample_comes_from(tmp_path: Path) -> None:
    """Where it is gone, that is said, and not passed over."""
    store = Store(str(tmp_path))
    row = {"stage": "minhash", "reason": "near_duplicate", "sample": 1, "text": "a", "offset": 7, "ordinal": 0}
    store.write_atomic("dropped/part-0.parquet", parquet_bytes([row]))
    assert len(read_samples(store, [], [("minhash", "near_duplicate")]).dropped) == 1
    with pytest.raises(OSError, match=r"part-0\.parquet"):
        read_samples(store, [], [("minhash", "near_duplicate")], [("minhash", "near_duplicate")])
