"""Stages whose decision needs other shards: what leaves, what it is said to repeat, and the account of it all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.audit.verify import verify
from pipeline.budget import LocalBudget
from pipeline.engine.inline import InlineEngine
from pipeline.events import Finished, Started
from pipeline.plan import Plan, plan_job
from pipeline.run import RunFailed, run
from pipeline.spec import JobError, parse_job
from pipeline.store import Store

PROSE = """
the harbour master kept a ledger of every boat that came in from the sea and of every one that did not
and in the winter he read it aloud to whoever would listen by the fire at the inn near the old bridge
where the river bends twice before it finds the marsh and the long grey sand that nobody has measured
"""

Row = dict[str, Any]


def prose(*changes: tuple[int, str]) -> str:
    """The same sixty words, some of them changed: (at, word)."""
    words = PROSE.split()
    for at, word in changes:
        words[at] = word
    return " ".join(words)


def other(number: int) -> str:
    """Sixty words that share no shingle with those of another number."""
    return " ".join(f"{word}{number}" for word in PROSE.split())


def plan_of(folder: Path, shards: Sequence[Sequence[Mapping[str, Any]]], stages: Sequence[Any], **job: Any) -> Plan:
    """A job over Parquet files with these rows; ids are a, b, c … in order unless given."""
    names = iter("abcdefghijklmnopqrstuvwxyz")
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "date", "media", "language")])
    for number, rows in enumerate(shards):
        filled = [{"id": next(names), "media": "html", **row} for row in rows]
        pq.write_table(pa.Table.from_pylist(filled, schema=schema), folder / f"in-{number:02d}.parquet")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"stages": list(stages)}))
    output = job.pop("to", "out")
    source = {"kind": "parquet", "paths": [str(folder / "in-*.parquet")]}
    content = {"name": "meeting", "source": source, "recipe": "recipe.yaml", **job}
    return plan_job(parse_job(content, "test"), folder, str(folder / output), LocalBudget(1))


def carry_out(plan: Plan) -> dict[str, Any]:
    """The manifest of the run, which `verify` finds nothing wrong with."""
    *_, last = run(plan, InlineEngine(1))
    assert isinstance(last, Finished)
    assert list(verify(plan.store)) == []
    return last.manifest


def ledger(plan: Plan) -> list[Row]:
    return rows_of(plan, "ledger")


def rows_of(plan: Plan, kind: str) -> list[Row]:
    rows: list[Row] = ds.dataset(Path(plan.output, kind), format="parquet").to_table().to_pylist()
    return rows


def left(plan: Plan) -> dict[str, str]:
    """What each record that left is said to repeat."""
    return {row["id"]: row["duplicate_of"] for row in ledger(plan) if row["outcome"] != "kept"}


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [("first", {"b": "a", "d": "a"}), ("longest", {"a": "b", "d": "b"}), ("newest", {"a": "d", "b": "d"})],
)
def test_of_equal_records_the_preferred_one_stays(tmp_path: Path, prefer: str, expected: dict[str, str]) -> None:
    here = "https://example.org/a"
    first = [
        {"url": here, "text": "one two", "date": "2024-01-02T00:00:00Z"},
        {"url": here + "#there", "text": "one two three", "date": "not a date"},
    ]
    second = [
        {"url": "https://example.org/b", "text": "one two"},
        {"url": "http://EXAMPLE.org:80/a", "text": "one", "date": "2024-05-01T00:00:00+02:00"},
    ]
    plan = plan_of(tmp_path, [first, second], [{"dedup_url": {"prefer": prefer}}])
    manifest = carry_out(plan)
    assert left(plan) == expected
    assert manifest["drops"] == [{"stage": "dedup_url", "reason": "duplicate_url", "outcome": "dropped", "count": 2}]
    assert {row["similarity"] for row in ledger(plan)} == {None}, (
        "addresses are equal, what lies there was not compared"
    )
    assert manifest["duplicates"] == [{"domain": "example.org", "duplicates": 2}]


def test_records_without_anything_to_compare_all_stay(tmp_path: Path) -> None:
    rows = [{"url": None, "text": " \n"}, {"url": "", "text": "\t"}, {"url": "http://[", "text": " "}]
    plan = plan_of(tmp_path, [rows, rows], ["dedup_url", "dedup_payload", "dedup_text", "minhash"])
    assert carry_out(plan)["totals"]["kept"] == 6
    assert {row["minhash_cluster_size"] for row in rows_of(plan, "data")} == {1}


def test_texts_are_equal_whatever_the_white_space(tmp_path: Path) -> None:
    rows = [{"text": "a b"}, {"text": "ab\n"}, {"text": "A b"}]
    plan = plan_of(tmp_path, [rows], ["dedup_text"])
    carry_out(plan)
    assert left(plan) == {"b": "a"}
    assert [row["similarity"] for row in ledger(plan)] == [None, 1.0, None]


def test_near_duplicates_over_shards(tmp_path: Path) -> None:
    shards = [
        [{"text": other(1)}, {"text": prose()}],
        [{"text": prose((3, "filled"))}, {"text": other(2)}, {"text": prose().upper() + "!"}],
        [],
        [{"text": other(3)}],
    ]
    plan = plan_of(tmp_path, shards, ["minhash", "token_count"])
    manifest = carry_out(plan)
    assert left(plan) == {"c": "b", "e": "b"}
    sizes = {row["id"]: row["minhash_cluster_size"] for row in rows_of(plan, "data")}
    assert sizes == {"a": 1, "b": 3, "d": 1, "f": 1}
    similarity = {row["id"]: row["similarity"] for row in ledger(plan)}
    assert similarity["e"] == 1.0
    assert 0.6 < similarity["c"] < 1
    (cluster,) = manifest["clusters"]
    assert (cluster["size"], cluster["kept"]["id"], cluster["other"]["id"]) == (3, "b", "c")
    assert (cluster["kept"]["text"], cluster["other"]["text"]) == (prose(), prose((3, "filled")))


def test_shown_clusters_tell_no_more_than_the_dataset(tmp_path: Path) -> None:
    mail = prose((9, "joe@harbour.org"))
    rows = [{"text": mail}, {"text": mail}, {"text": other(1)}, {"text": other(1)}]
    recipe = ["minhash", "pii", {"gopher_quality": {"min_stop_words": 2}}]
    plan = plan_of(tmp_path, [rows], recipe, output={"dropped_text": "none"})
    first, second = carry_out(plan)["clusters"]
    assert "joe@harbour.org" not in first["kept"]["text"]
    assert "@" in first["kept"]["text"]
    assert second["kept"] | {"text": None} == second["kept"], "it left later"
    assert first["other"]["text"] is second["other"]["text"] is None


def test_short_texts_equal_only_the_same_short_text(tmp_path: Path) -> None:
    texts = ["yes", "no", "yes no", "no yes", "Yes!", "yes no maybe so", "yes no maybe so then", "then"]
    plan = plan_of(tmp_path, [[{"text": text} for text in texts]], ["minhash"])
    carry_out(plan)
    assert left(plan) == {"e": "a"}


def chain(links: int, step: int) -> list[str]:
    """Texts of which each differs from the one before in one more place; ends share little."""
    return [prose(*((at * step, f"new{at}") for at in range(link))) for link in range(links)]


def test_a_chain_swallows_its_ends_only_unverified(tmp_path: Path) -> None:
    rows = [{"text": text} for text in chain(9, 7)]
    loose = plan_of(tmp_path / "loose", [rows[:4], rows[4:]], [{"minhash": {"bands": 50, "rows": 2}}])
    assert carry_out(loose)["totals"]["kept"] == 1
    strict = {"minhash": {"bands": 50, "rows": 2, "verify": True, "threshold": 0.7}}
    plan = plan_of(tmp_path / "strict", [rows[:4], rows[4:]], [strict])
    carry_out(plan)
    kept = {row["id"] for row in ledger(plan) if row["outcome"] == "kept"}
    texts = dict(zip("abcdefghi", chain(9, 7)))
    assert 1 < len(kept) < 9
    for row in ledger(plan):
        if row["outcome"] != "kept":
            assert row["duplicate_of"] in kept
            exact = jaccard(texts[row["id"]], texts[row["duplicate_of"]])
            assert exact >= 0.7 == row["threshold"]
            assert row["similarity"] == row["value"] == pytest.approx(exact, abs=0.12)
    for one in kept:
        assert all(jaccard(texts[one], texts[another]) < 0.7 for another in kept - {one})


@pytest.mark.parametrize("carried", [0, 2**14])
def test_blocks_and_where_texts_come_from_decide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carried: int
) -> None:
    rows = [{"text": text} for text in [*chain(9, 7), *chain(9, 6)]]
    stage = {"minhash": {"bands": 50, "rows": 2, "verify": True}}
    whole = plan_of(tmp_path, [rows[:4], rows[4:]], [stage], to="whole")
    carry_out(whole)
    monkeypatch.setattr("pipeline.meeting.cluster.BLOCK", 2)
    monkeypatch.setattr("pipeline.meeting.members.CARRIED", carried)
    plan = plan_of(tmp_path, [rows[:4], rows[4:]], [stage], to="blocks")
    carry_out(plan)
    assert ledger(plan) == ledger(whole)


def test_a_cluster_of_many_that_stay_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.meeting.cluster.MOST_LEADERS", 2)
    rows = [{"text": text} for text in [*chain(9, 7), chain(9, 7)[-1], prose()]]
    plan = plan_of(tmp_path, [rows], [{"minhash": {"bands": 50, "rows": 2, "verify": True, "threshold": 0.8}}])
    (alarm,) = carry_out(plan)["alarms"]
    assert alarm.startswith("minhash: in 1 clusters not all could be compared: of 11 members")
    kept = {row["id"] for row in ledger(plan) if row["outcome"] == "kept"}
    assert set(left(plan).values()) <= kept
    assert left(plan)["k"] == "a"


def jaccard(one: str, another: str) -> float:
    grams = [{tuple(words[at : at + 5]) for at in range(len(words) - 4)} for words in (one.split(), another.split())]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def test_only_one_media_meets(tmp_path: Path) -> None:
    rows = [{"text": prose()}, {"text": prose(), "media": "pdf"}, {"text": prose()}, {"text": prose(), "media": "pdf"}]
    pdf = {"minhash": {"only": "pdf", "verify": True}}
    plan = plan_of(tmp_path, [rows], [pdf])
    carry_out(plan)
    assert left(plan) == {"d": "b"}
    sizes = {row["id"]: row["minhash_cluster_size"] for row in rows_of(plan, "data")}
    assert sizes == {"a": None, "b": 2, "c": None}
    both = plan_of(tmp_path, [rows], [pdf, {"minhash": {"only": "html"}}], to="both")
    carry_out(both)
    assert left(both) == {"c": "a", "d": "b"}
    assert {row["id"]: row["minhash_cluster_size"] for row in rows_of(both, "data")} == {"a": 2, "b": 2}
    with pytest.raises(JobError, match="twice for the same records"):
        plan_of(tmp_path, [rows], [pdf, "minhash"], to="neither")


def test_rules_before_and_behind_a_meeting_share_one_account(tmp_path: Path) -> None:
    rows = [{"text": prose() + "."}, {"text": prose() + "."}, {"text": "short"}, {"text": prose((0, "The"))}]
    stages = ["gopher_quality", "dedup_text", "fineweb_quality", "token_count"]
    plan = plan_of(tmp_path, [rows, rows], stages, output={"dropped_text": "all"})
    manifest = carry_out(plan)
    signals = {(row["shard"], row["id"]): row for row in rows_of(plan, "signals")}
    assert len(signals) == 8
    reached = [place for place, row in signals.items() if row["fineweb_quality"] is not None]
    there = {(row["shard"], row["id"]) for row in ledger(plan) if row["stage"] in ("fineweb_quality", None)}
    assert set(reached) == there
    assert all(row["gopher_quality"] is not None for row in signals.values())
    stages_left = Counter(row["stage"] for row in ledger(plan))
    assert stages_left == {"gopher_quality": 2, "dedup_text": 4, "fineweb_quality": 1, None: 1}
    dropped = {(row["shard"], row["id"]): row["text"] for row in rows_of(plan, "dropped")}
    assert len(dropped) == 8 - manifest["totals"]["kept"]
    assert [row["stage"] for row in manifest["funnel"]] == ["read", *(stage.kind for stage in plan.stages)]


def test_two_meetings_in_a_row(tmp_path: Path) -> None:
    shards = [[{"text": prose()}, {"text": prose((3, "filled"))}], [{"text": prose()}, {"text": other(1)}]]
    plan = plan_of(tmp_path, shards, ["dedup_text", "minhash"], output={"partition_by": ["language"]})
    carry_out(plan)
    assert left(plan) == {"c": "a", "b": "a"}
    stages = {row["id"]: row["stage"] for row in ledger(plan)}
    assert stages == {"a": None, "b": "minhash", "c": "dedup_text", "d": None}
    assert {row["id"]: row["minhash_cluster_size"] for row in rows_of(plan, "data")} == {"a": 2, "d": 1}


def test_addresses_meet_before_extraction(tmp_path: Path) -> None:
    from published import plan_over

    from pipeline.sample.crawl import write_sample

    write_sample(tmp_path / "crawl")
    stages = ["dedup_url", "dedup_payload", {"extract_html": {"extractor": "resiliparse"}}, "dedup_text", "minhash"]
    (tmp_path / "crawl" / "recipe.yaml").write_text(yaml.safe_dump({"stages": stages}))
    plan = plan_over(tmp_path / "crawl", tmp_path / "out", recipe="recipe.yaml")
    manifest = carry_out(plan)
    funnel = {row["stage"]: row for row in manifest["funnel"]}
    assert funnel["dedup_payload"]["dropped"] > 0
    assert funnel["extract_html"]["in"] < manifest["totals"]["records_read"]
    assert manifest["totals"]["bytes_lost"] > 0, "what the first segment knows of its input is not lost"


def test_a_bucket_over_the_cap_is_an_alarm(tmp_path: Path) -> None:
    rows = [{"text": prose()} for _ in range(6)]
    plan = plan_of(tmp_path, [rows, rows], [{"minhash": {"bucket_cap": 11}}])
    (alarm,) = carry_out(plan)["alarms"]
    assert alarm.startswith("minhash: 14 band keys are shared by more than bucket_cap (11) records, one by 12")
    assert not carry_out(plan_of(tmp_path, [rows, rows], [{"minhash": {"bucket_cap": 12}}], to="more"))["alarms"]


def test_inputs_that_cannot_be_read_end_the_run_before_the_meeting(tmp_path: Path) -> None:
    rows = [{"text": prose()}, {"text": "short"}, {"text": prose()}]
    plan = plan_of(tmp_path, [rows, rows], ["gopher_quality", "minhash"])
    second = Path(plan.inputs[1].path)
    whole = second.read_bytes()
    second.write_bytes(whole[:-1] + b"!")
    *events, last = run(plan, InlineEngine(1))
    assert isinstance(last, Finished)
    assert last.manifest["state"] == "failed"
    assert [event.after for event in events if isinstance(event, Started)] == [None]
    second.write_bytes(whole)
    assert carry_out(plan)["totals"]["kept"] == 1, "and it goes on when the input is mended"


def test_a_meeting_to_which_nobody_comes(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [[{"text": prose()}]], ["minhash", "token_count"], run={"max_failed_shards": 1})
    Path(plan.inputs[0].path).write_bytes(b"no Parquet")
    *_, last = run(plan, InlineEngine(1))
    assert isinstance(last, Finished)
    assert last.manifest["totals"]["records_read"] == 0
    assert list(verify(plan.store)) == []


def test_a_shard_that_can_be_read_at_last_comes_to_the_meeting(tmp_path: Path) -> None:
    tolerant = {"max_failed_shards": 1}
    plan = plan_of(tmp_path, [[{"text": prose()}], [{"text": prose()}]], ["minhash"], run=tolerant)
    second = Path(plan.inputs[1].path)
    whole = second.read_bytes()
    second.write_bytes(whole[:-1] + b"!")
    for event in run(plan, InlineEngine(1)):
        if isinstance(event, Started) and event.after:
            break
    second.write_bytes(whole)
    carry_out(plan)
    assert left(plan) == {"b": "a"}


@pytest.fixture
def snapshots(tmp_path: Path) -> tuple[list[list[Row]], list[list[Row]]]:
    """Two snapshots: the second has two of the first's texts, one of them changed in a word, and one twice."""
    one = [[{"text": prose()}, {"text": other(1)}], [{"text": other(2)}]]
    two = [[{"text": prose((3, "filled"))}, {"text": other(3)}], [{"text": other(2)}, {"text": other(3)}]]
    return one, two


def indexed(folder: Path, shards: list[list[Row]], index: Path, **job: Any) -> Plan:
    fields = {"against": str(index), "index": str(index), "verify": True}
    return plan_of(folder, shards, [{"minhash": fields}], **job)


def test_a_new_snapshot_costs_only_itself(tmp_path: Path, snapshots: tuple[list[list[Row]], list[list[Row]]]) -> None:
    one, two = snapshots
    index = tmp_path / "index"
    assert carry_out(indexed(tmp_path / "one", one, index))["indexes"] == [
        {"index": str(index), "read": None, "extended": 1}
    ]
    plan = indexed(tmp_path / "two", two, index)
    manifest = carry_out(plan)
    assert manifest["indexes"] == [{"index": str(index), "read": 1, "extended": 2}]
    reasons = {row["id"]: (row["reason"], row["duplicate_of"]) for row in ledger(plan) if row["reason"]}
    assert reasons == {"a": ("duplicate_in_index", "a"), "c": ("duplicate_in_index", "c"), "d": ("near_duplicate", "b")}
    assert manifest["totals"]["kept"] == 1
    assert len(list((index / "versions").iterdir())) == 2


def test_extending_twice_changes_nothing(tmp_path: Path, snapshots: tuple[list[list[Row]], list[list[Row]]]) -> None:
    one, two = snapshots
    index = tmp_path / "index"
    first = indexed(tmp_path / "one", one, index)
    carry_out(first)
    carry_out(indexed(tmp_path / "two", two, index))
    before = {path: path.read_bytes() for path in sorted(index.rglob("*")) if path.is_file()}
    again = indexed(tmp_path / "one", one, index, to="again")
    carry_out(again)
    assert {path: path.read_bytes() for path in sorted(index.rglob("*")) if path.is_file()} == before
    assert [row["outcome"] for row in ledger(again)] == ["kept"] * 3, "its own copies are no earlier ones"
    assert rows_of(again, "data") == rows_of(first, "data")


def test_a_job_with_more_inputs_is_not_met_by_its_own_records(tmp_path: Path) -> None:
    """Its own copies would drop what stays now, where what stayed then leaves earlier."""
    index = tmp_path / "index"
    fields = {"minhash": {"against": str(index), "index": str(index)}}
    old, new = {"text": prose(), "date": "2024-01-01"}, {"text": prose(), "date": "2024-02-01"}
    carry_out(plan_of(tmp_path, [[old]], [fields], to="one"))
    both = plan_of(tmp_path, [[old], [new]], [{"dedup_text": {"prefer": "newest"}}, fields], to="two")
    assert carry_out(both)["totals"]["kept"] == 1
    assert left(both) == {"a": "b"}


def test_what_lies_at_the_same_path_later_is_another_input(tmp_path: Path) -> None:
    index = tmp_path / "index"
    carry_out(indexed(tmp_path, [[{"text": prose()}, {"text": other(1)}]], index, to="one"))
    later = indexed(tmp_path, [[{"text": other(2)}, {"text": other(1), "id": "z"}]], index, to="two")
    carry_out(later)
    assert left(later) == {"z": "b"}
    third = indexed(tmp_path / "elsewhere", [[{"text": other(2), "id": "x"}, {"text": prose(), "id": "y"}]], index)
    carry_out(third)
    assert left(third) == {"x": "a", "y": "a"}


def test_another_recipe_adds_to_an_index_too(tmp_path: Path) -> None:
    index = tmp_path / "index"
    rows = [{"text": prose()}, {"text": other(1), "media": "pdf"}]
    for media in ("html", "pdf"):
        carry_out(plan_of(tmp_path, [rows], [{"minhash": {"only": media, "index": str(index)}}], to=media))
    new = [{"text": prose((3, "filled"))}, {"text": other(1)}]
    plan = plan_of(tmp_path / "new", [new], [{"minhash": {"against": str(index)}}])
    carry_out(plan)
    assert left(plan) == {"a": "a", "b": "b"}


def test_an_index_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    plan = indexed(tmp_path, [[{"text": prose()}]], Path("/proc/index"))
    with pytest.raises(JobError, match="name another place with `index:`"):
        next(run(plan, InlineEngine(1)))
    assert not Path(plan.output).exists()
    with pytest.raises(JobError, match="outside the output"):
        indexed(tmp_path, [[{"text": prose()}]], tmp_path / "out" / "index")


def test_a_run_is_pinned_to_the_version_it_began_with(
    tmp_path: Path, snapshots: tuple[list[list[Row]], list[list[Row]]]
) -> None:
    one, two = snapshots
    index = tmp_path / "index"
    carry_out(indexed(tmp_path / "one", one, index))
    plan = indexed(tmp_path / "two", two, index)
    events = run(plan, InlineEngine(1))
    next(events)
    events.close()
    carry_out(indexed(tmp_path / "three", [[{"text": other(3)}]], index))
    resumed = indexed(tmp_path / "two", two, index)
    assert resumed.fingerprint == plan.fingerprint
    carry_out(resumed)
    assert left(resumed) == {"a": "a", "c": "c", "d": "b"}, "the third snapshot came later"


def test_an_index_that_is_not_there_or_differs_is_refused(tmp_path: Path) -> None:
    index = tmp_path / "index"
    with pytest.raises(JobError, match=r"minhash\.against: .*: no index there"):
        plan_of(tmp_path, [[{"text": prose()}]], [{"minhash": {"against": str(index)}}])
    carry_out(indexed(tmp_path / "one", [[{"text": prose()}]], index))
    with pytest.raises(JobError, match="ngram 5, and the job has ngram 6"):
        plan_of(tmp_path, [[{"text": prose()}]], [{"minhash": {"against": str(index), "ngram": 6}}])


def test_a_lost_file_of_a_meeting_ends_the_run_with_one_line(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [[{"text": prose()}], [{"text": prose()}]], ["minhash"])
    for event in run(plan, InlineEngine(1)):
        if isinstance(event, Started) and event.after:
            break
    for path in Store(plan.output).list(".work/meetings"):
        if "home" in path and path.endswith(".arrow"):
            Path(plan.output, path).unlink()
    with pytest.raises(RunFailed, match=r"No such file.*; remove \.work/meetings/1-[0-9a-f]{16} and run again"):
        list(run(plan, InlineEngine(1)))
    Store(plan.output).remove_tree(".work/meetings")
    carry_out(plan)


def test_the_work_of_a_finished_run_is_cleared_away(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [[{"text": prose()}, {"text": prose()}]], ["minhash"])
    carry_out(plan)
    assert not Store(plan.output).list(".work/meetings")
    assert not Store(plan.output).list(".work/attempts")
    assert json.loads(Path(plan.output, ".work/plan.json").read_bytes())["stages"]
