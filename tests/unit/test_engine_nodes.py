"""What nodes must have and hold before they work for a run, as far as one process can show it."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from crawls import warcs, write_job

from pipeline.assets import resolve
from pipeline.engine import EngineError
from pipeline.engine.capacity import await_place, places
from pipeline.engine.inspection import Answer, Inspection, NodeGone
from pipeline.engine.installed import difference, digest, errand, installed
from pipeline.engine.nodes import Needs, leave_marks, needs_of, remove_marks, unmet
from pipeline.plan import Plan, make_plan
from pipeline.sample.crawl import write_sample
from stages.filter.url import UrlFilter
from stages.tokens import TokenCount

HERE: dict[str, Any] = {
    "files": {"pipeline/a.py": "1", "stages/b.py": "2"},
    "versions": {"crawlmill": "1.0", "python": "3.11.7", "pymupdf": "2.0"},
    "fault": None,
}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, None),
        ({"versions": HERE["versions"] | {"pymupdf": "1.26"}}, "pymupdf 1.26 there, 2.0 here: install the same"),
        ({"versions": {"crawlmill": "1.0", "python": "3.11.7"}}, "pymupdf missing there, 2.0 here: "),
        ({"versions": HERE["versions"] | {"numba": "1"}}, "numba 1 there, missing here: "),
        ({"files": {"pipeline/a.py": "1"}}, r"other code of crawlmill there \(stages/b.py\): install the same"),
        ({"files": {"pipeline/a.py": "3", "stages/c.py": "2"}}, r"\(pipeline/a.py and 2 more\): install the same"),
        (
            {"files": {"pipeline/a.py": "3"}, "versions": HERE["versions"] | {"crawlmill": "0.9", "python": "3.12.1"}},
            "crawlmill 0.9 there, 1.0 here; python 3.12.1 there, 3.11.7 here: install the same version",
        ),
        ({"files": {}}, "crawlmill is not installed there: install the same version"),
        ({"fault": "ImportError: no pyarrow", "versions": {}}, r"does not load there \(ImportError: no pyarrow\): "),
    ],
)
def test_how_installations_differ(there: dict[str, Any], said: str | None) -> None:
    found = difference(HERE | there, HERE)
    assert (found is None) == (said is None) == (digest(HERE | there) == digest(HERE))
    assert re.search(said or "", found or ""), found


def test_what_is_installed_here() -> None:
    here = installed()
    assert {"pipeline/engine/installed.py", "stages/recipes/fineweb.yaml"} <= set(here["files"])
    assert not any("__pycache__" in name for name in here["files"])
    assert {"python", "crawlmill", "pyarrow"} <= set(here["versions"])
    assert here["fault"] is None
    assert pickle.loads(pickle.dumps(here)) == here


OTHER = """
import json, sys
from pipeline.engine.installed import digest, errand, installed
alike, found = errand(sys.argv[1], b"not even a pickle")
print(json.dumps([alike, found]))
"""


def test_what_is_sent_to_another_installation_is_not_touched_there(tmp_path: Path) -> None:
    project = Path(__file__).parents[2]
    for name in ("pipeline", "stages"):
        shutil.copytree(project / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "stages" / "tokens.py").open("a") as file:
        file.write("# another version\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    expected = digest(installed())
    command = [sys.executable, "-c", OTHER, expected]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    alike, there = json.loads(asked.stdout)
    assert not alike
    said = difference(there, installed())
    assert (
        said == "other code of crawlmill there (stages/tokens.py): install the same version (one image for all nodes)"
    )
    assert errand(expected, pickle.dumps(len), "four") == (True, 4)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("plan")
    write_sample(folder / "crawl")
    recipe = {"stages": ["url_filter", "extract_html", {"minhash": {"index": str(folder / "index")}}, "token_count"]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    job = write_job(folder, warcs(folder / "crawl" / "*.gz"), override={}, recipe=str(folder / "recipe.yaml"))
    return make_plan(job, str(folder / "out"))


@pytest.fixture
def needs(plan: Plan) -> Iterator[Needs]:
    needs = needs_of(plan)
    leave_marks(needs)
    yield needs
    remove_marks(needs)


def test_the_node_that_made_the_plan_lacks_nothing(plan: Plan, needs: Needs) -> None:
    assert unmet(pickle.loads(pickle.dumps(needs))) is None
    out, index = Path(plan.output), Path(plan.output).with_name("index")
    assert [mark.root for mark in needs.marks] == [str(out), str(index)]
    remove_marks(needs)
    assert not any(path.is_file() for folder in (out, index) for path in folder.rglob("*"))


def test_places_that_a_node_does_not_see(plan: Plan, needs: Needs, tmp_path: Path) -> None:
    first, crawl = needs.marks[0], needs.files[0][0]
    elsewhere = replace(first, root=str(tmp_path))
    assert "does not see" in (unmet(replace(needs, marks=(elsewhere,))) or "")
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "mark").write_text("of an earlier run on a disk of one's own")
    said = unmet(replace(needs, marks=(first, elsewhere)), settle=0)
    assert said == f"does not see {tmp_path}: " + (
        "use storage that every node sees (a shared folder at the same path, or s3://…)"
    )
    for files in ((("/nowhere/a.warc.gz", None),), ((crawl, 1),)):
        assert f"does not see {files[0][0]}" in (unmet(replace(needs, files=files)) or "")
    assert f"{tmp_path}/no (and 1 more): " in (unmet(replace(needs, folders=(f"{tmp_path}/no", "/nowhere"))) or "")


def test_a_list_that_is_another_on_a_node(tmp_path: Path, needs: Needs) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one.example\n")
    stage = UrlFilter(domains=str(names))
    _, pins = resolve(stage)
    only = replace(needs, stages=(stage,), pins=pins)
    assert unmet(only) is None
    names.write_text("one.example\ntwo.example\n")
    os.utime(names, ns=(1, 1))
    assert "has changed since the plan was made" in (unmet(only) or "")
    names.unlink()
    said = unmet(only) or ""
    assert "no such file" in said and said.endswith("every node needs the same models and lists")


def test_a_stage_that_cannot_work_on_a_node(needs: Needs, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("no tokenizer")
    stage = TokenCount(tokenizer=str(tmp_path / "tokenizer.json"))
    _, pins = resolve(stage)
    said = unmet(replace(needs, stages=(stage,), pins=pins)) or ""
    assert said.startswith("token_count: ") and "\n" not in said


GIB = 2**30


def node(name: str, alive: bool = True, **resources: float) -> Mapping[str, Any]:
    return {"NodeID": name, "NodeManagerAddress": f"10.0.0.{name}", "Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "held"),
    [
        ([], 0),
        ([node("1", memory=64 * GIB)], 0),  # a head that only coordinates
        ([node("1", CPU=0, memory=64 * GIB), node("2", CPU=4, memory=64 * GIB)], 2),
        ([node("1", CPU=5, memory=5 * GIB), node("2", False, CPU=64, memory=64 * GIB)], 2),
        ([node("1", CPU=1, memory=64 * GIB), node("2", CPU=1, memory=64 * GIB)], 0),  # none of them holds one
        ([node("1", CPU=64, memory=3 * GIB)], 1),
    ],
)
def test_places_for_tasks_of_two_processors_and_two_gib(nodes: list[Mapping[str, Any]], held: int) -> None:
    assert places(nodes, 2, 2 * GIB) == held


def test_nodes_that_are_not_there_yet_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    looks = iter([[node("1", CPU=0, memory=GIB)]] * 2)
    await_place(lambda: next(looks, [node("2", CPU=1, memory=GIB)]), 1, GIB, 60)
    assert "no node of the cluster has 1 processor and 1.0 GiB yet; waiting up to 60 s for one" in caplog.text
    with pytest.raises(EngineError, match=r"the largest node of the cluster has 0 processors and 1.0 GiB after 0 s, "):
        await_place(lambda: [node("1", CPU=0, memory=GIB)], 1, GIB, 0.01)


def test_every_node_is_looked_at_once_and_again_where_the_look_was_lost() -> None:
    begun: list[str] = []

    def look(node: Mapping[str, Any]) -> Callable[[], Answer | None]:
        begun.append(node["NodeID"])
        heard: list[Answer | None] = [] if begun == ["1"] else [(True, None)]
        heard.append(None)

        def answer() -> Answer | None:
            if not heard:
                raise NodeGone
            return heard.pop()

        return answer

    inspection = Inspection(look)
    inspection.all_of(lambda: [node("1"), node("2"), node("3", alive=False)])
    assert sorted(begun) == ["1", "1", "2"]
    assert not inspection.go_on([node("1"), node("2")])
    assert len(begun) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((True, "does not see /data"), "node 10.0.0.7: does not see /data"),
        ((False, HERE), "node 10.0.0.7: crawlmill 1.0 there, 0."),
    ],
)
def test_a_node_that_cannot_work_is_named(answer: Answer, said: str) -> None:
    inspection = Inspection(lambda _: lambda: answer)
    with pytest.raises(EngineError, match=said):
        inspection.go_on([node("7")])
