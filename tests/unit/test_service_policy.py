"""What a job that somebody submits may reach, and what it is told where it may not."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipeline.service.locations import locate, overlap
from pipeline.service.placing import marks
from pipeline.service.planning import check
from pipeline.service.policy import Storage, StoragePolicy
from pipeline.spec import (
    CommonCrawlSource,
    IndexSelection,
    Job,
    JobError,
    Output,
    ParquetSource,
    Run,
    WarcSource,
    load_stages,
)
from stages.catalog import STAGES
from stages.stage import Asset

BUCKET = "s3://team/crawls"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A data folder, a bucket that may be written to, two that may be read, and a website."""
    (tmp_path / "data/crawl").mkdir(parents=True)
    read = ("https://data.commoncrawl.org/", "s3://commoncrawl", "s3://b.b:9000/x")
    return Storage(tmp_path / "data", StoragePolicy(read=read, write=(BUCKET,)))


def job(paths: tuple[str, ...] = ("crawl/*.warc.gz",), stages: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": "x", "source": {"kind": "warc", "paths": list(paths)}, "output": {"path": "out"}}
    if stages is not None:
        found["recipe"] = {"stages": stages}
    return found | more


def refusal(content: object, storage: Storage, known: bool = True) -> str:
    """What is said of a job. known: where the data folder lies must not be in it."""
    with pytest.raises(JobError) as raised:
        check(content, storage)
    said = str(raised.value)
    assert said.isprintable() and len(said) < 1000
    assert not known or str(storage.data) not in said
    return said


def snapshot(base: str | None, **more: str) -> dict[str, Any]:
    source = {"kind": "commoncrawl", "snapshot": "CC-MAIN-2026-43"} | more
    return job() | {"source": source if base is None else source | {"base": base}}


HOSTILE = [
    "/etc/passwd", "../secret", "crawl/../../secret", "crawl/..", "{data}/../secret", "{data}evil/x", "//etc/passwd",
    "file:///etc/passwd", "file:{data}/../x", "file://host/x", "file://", "file:///{data}/../x", "FILE:///etc/passwd",
    "crawl\\..\\..\\x", "crawl/\0", "crawl/\nx", "", " crawl", "\ud800", "crawl/\u2028x", "/", "~root\\x",
    "crawl/.work/plan.json", ".crawlmill/crawlmill.db", "crawl/*/.hidden/x", "x" * 3000, "/*/passwd", "{data}*/x",
    "memory://x/y", "ftp://host/x", "github://o:r@main/x", "zip://x.warc::s3://team/crawls/x.zip", "data:,x://y",
    "simplecache::s3://team/crawls/x", "simplecache::file:///etc/passwd", "file://simplecache::s3://team/crawls/x",
    "blockcache::https://data.commoncrawl.org/x", "s3a://team/crawls/x", "S3://team/crawls/x", "s3:///team/crawls/x",
    "s3://team", "s3://team/", "s3://team/crawls-evil/x", "s3://team-evil/crawls/x", "s3://team/crawl/x", "s3://*/crawls/x",
    "s3://team/craw*/x", "s3://team/*/x", "s3://team/crawls/../x", "s3://team/crawls//x", "s3://team/crawls/./x",
    "s3://team/crawls/%2e%2e/x", "s3://user:pw@team/crawls/x", "s3://team/crawls/.work/x", "s3://b.b/x/y", "s3://b.b:9001/x/y",
    "https://data.commoncrawl.org@evil.example/x", "https://evil.example/data.commoncrawl.org/x",
    "https://data.commoncrawl.org.evil.example/x", "https://data.commoncrawl.org:8443/x", "http://data.commoncrawl.org/x",
    "https://me@data.commoncrawl.org/x", "https://DATA.commoncrawl.org/x", "HTTPS://data.commoncrawl.org/x",
    "https://data.commoncrawl.org./x", "https://data.commoncrawl.org\\@evil.example/x", "https:data.example/../x",
    "https://data.commoncrawl.org?@evil.example/x", "https://data.commoncrawl.org#@evil.example/x",
    "https://data.commoncrawl.org/x?u=http://evil.example", "https://data.commoncrawl.org/x#y", "https://[::1]/x",
    "https://data.commoncrawl.org/%2e%2e/x", "https://data.commoncrawl.org/../x", "https:///data.commoncrawl.org/x",
    "https://127.0.0.1/x", "https://data.commoncrawl.org%00.evil.example/x", "https://dаta.commoncrawl.org/x",
    "http://169.254.169.254/latest/meta-data",
]  # fmt: skip


@pytest.mark.parametrize("place", HOSTILE)
def test_places_out_of_bounds(place: str, storage: Storage) -> None:
    place = place.replace("{data}", str(storage.data))
    fields: list[tuple[str, dict[str, Any]]] = [
        ("source.paths[1]", job(("crawl/a.warc", place))),
        ("source.base", snapshot(place)),
        ("output.path", job(output={"path": place})),
        ("url_filter.domains", job(stages=[{"url_filter": {"domains": place}}])),
        ("language.model", job(override={"language": {"model": place}})),
        ("refetch.earlier", job(stages=[{"refetch": {"contact": "a@b.example", "earlier": [place]}}])),
    ]
    fields += [(f"minhash.{name}", job(stages=[{"minhash": {name: place}}])) for name in ("index", "against")]
    for where, content in fields:
        said = refusal(content, storage, known=str(storage.data) not in place)
        by_the_stage_itself = "recipe: stages[0]."
        assert said.startswith((f"job: {where}: ", by_the_stage_itself))


@pytest.mark.parametrize(
    ("place", "becomes"),
    [
        ("crawl/*.warc.gz", "{data}/crawl/*.warc.gz"),
        ("./crawl//a/./b.warc", "{data}/crawl/a/b.warc"),
        ("crawl/**/a%2e [x].warc", "{data}/crawl/**/a%2e [x].warc"),
        ("file://{data}/crawl/a.warc", "{data}/crawl/a.warc"),
        ("{data}/crawl/a.warc", "{data}/crawl/a.warc"),
        ("s3://team/crawls/2026/*.warc.gz", "s3://team/crawls/2026/*.warc.gz"),
        ("s3://commoncrawl/crawl-data/a=b@c/x.warc.gz", "s3://commoncrawl/crawl-data/a=b@c/x.warc.gz"),
        ("s3://b.b:9000/x/y", "s3://b.b:9000/x/y"),
        ("https://data.commoncrawl.org/crawl-data/x.warc.gz", "https://data.commoncrawl.org/crawl-data/x.warc.gz"),
    ],
)
def test_places_within_bounds(place: str, becomes: str, storage: Storage) -> None:
    place, becomes = (each.replace("{data}", str(storage.data)) for each in (place, becomes))
    placed = check(job((place,)), storage)
    assert placed.source.paths == (becomes,)  # type: ignore[union-attr]
    assert placed.output.path == f"{storage.data}/out"
    assert check(placed.model_dump(mode="json", exclude_unset=True), storage) == placed, "once is enough"


@pytest.mark.parametrize("place", ["s3://team/crawls/out", "s3://team/crawls/out/"])
def test_a_folder_in_a_bucket_is_one_output_however_it_is_written(place: str, storage: Storage) -> None:
    assert check(job(output={"path": place}), storage).output.path == "s3://team/crawls/out"


@given(st.lists(st.sampled_from(["..", ".", "", "a", "*", "%2e%2e", "\\", "~", ":", "://", "::", "file:", "@", "?"])))
def test_whatever_is_written_ends_up_in_the_data_folder_or_nowhere(words: list[str]) -> None:
    storage = Storage(Path("/srv/data"), StoragePolicy(read=()))
    for place in ("/".join(words), "".join(words), "/srv/data/" + "/".join(words)):
        with contextlib.suppress(JobError):
            taken = storage.reading(place, "x", pattern=True)
            assert f"{taken}/".startswith("/srv/data/")
            assert taken == os.path.normpath(taken), "what drivers and glob read in one way alone"


def test_places_of_stages_move_where_they_are_written(storage: Storage) -> None:
    content = job(
        stages=[
            {"url_filter": {"domains": "lists/d.txt", "urls": "https://data.commoncrawl.org/urls.gz", "words": None}},
            {"refetch": {"contact": "a@b.example", "earlier": ["out1", "s3://team/crawls/out2"], "ca_file": "ca.pem"}},
            "extract_html",
            {"language": {"only": "html", "model": "m/html.bin"}},
            {"language": {"only": "pdf", "keep": ["en"], "model": "builtin:lid.176.ftz"}},
            {"minhash": {"index": "index", "against": "s3://commoncrawl/index"}},
            {"token_count": {"tokenizer": "t/tokenizer.json", "enabled": False}},
        ],
        override={"language": {"min_score": 0.5}, "token_count": {"enabled": True}},
    )
    before = json.dumps(content)
    data, placed = str(storage.data), check(content, storage)
    assert json.dumps(content) == before
    stages = load_stages(placed, Path("/nowhere"))
    assert [stage.model_fields_set for stage in stages] == [
        stage.model_fields_set for stage in load_stages(Job.model_validate(content), Path("/nowhere"))
    ]
    found = [stage.model_dump(exclude_defaults=True) for stage in stages]
    assert found[0]["domains"] == f"{data}/lists/d.txt" and found[0]["urls"] == "https://data.commoncrawl.org/urls.gz"
    assert found[1]["earlier"] == (f"{data}/out1", "s3://team/crawls/out2") and found[1]["ca_file"] == f"{data}/ca.pem"
    assert found[3]["model"] == f"{data}/m/html.bin" and "model" not in found[4]
    assert (found[5]["index"], found[5]["against"]) == (f"{data}/index", "s3://commoncrawl/index")
    assert found[6]["tokenizer"] == f"{data}/t/tokenizer.json"
    assert check(placed.model_dump(mode="json", exclude_unset=True), storage) == placed


def test_a_shipped_recipe_keeps_its_name(storage: Storage) -> None:
    placed = check(job(recipe="fineweb", override={"url_filter": {"domains": "d.txt"}}), storage)
    assert (placed.recipe, placed.override) == ("fineweb", {"url_filter": {"domains": f"{storage.data}/d.txt"}})


def test_what_is_left_out_is_not_looked_at_and_not_run(storage: Storage) -> None:
    placed = check(job(stages=["extract_html", {"language": {"enabled": False, "model": "/etc/passwd"}}]), storage)
    assert [stage.kind for stage in load_stages(placed, storage.data)] == ["extract_html"]
    with pytest.raises(JobError, match="language.model: '/etc/passwd'"):
        check(placed.model_dump(mode="json") | {"override": {"language": {"enabled": True}}}, storage)


def test_text_that_is_written_as_bytes_does_not_slip_through(storage: Storage) -> None:
    assert refusal(job(stages=[{"language": {"model": b"m.bin"}}]), storage).startswith("job: language.model: ")
    assert refusal(job(stages=[{"language": {"model": b"/etc/passwd"}}]), storage).startswith("job: language.model: ")


@pytest.mark.parametrize("where", ["source.paths[0]", "source.base", "output.path", "url_filter.urls", "minhash.index"])
def test_symbolic_links_out_of_the_data_folder(where: str, storage: Storage) -> None:
    for name, target in (("away", storage.data.parent), ("home", storage.data / "crawl")):
        (storage.data / name).symlink_to(target)

    def named(folder: str) -> dict[str, Any]:
        path, new = f"{folder}/sub", {"path": "new"}
        return {
            "source.paths[0]": job((f"{path}/*.gz",)),
            "source.base": snapshot(path),
            "output.path": job(("a.warc",), output={"path": path}),
            "url_filter.urls": job(stages=[{"url_filter": {"urls": path}}], output=new),
            "minhash.index": job(stages=[{"minhash": {"index": path}}], output=new),
        }[where]

    check(job(("away/data/crawl/*.gz",)), storage)  # out, and in again
    said = refusal(named("away"), storage)
    assert said.startswith(f"job: {where}: ") and "a link to where jobs may not go" in said
    check(named("home"), storage)


def test_links_that_a_pattern_matches(storage: Storage) -> None:
    (storage.data / "crawl/a.warc").touch()
    (storage.data.parent / "secret").touch()
    (storage.data / "crawl/b.warc").symlink_to(storage.data.parent / "secret")
    (storage.data / "crawl/c.warc").symlink_to("a.warc")
    storage.confirm([f"{storage.data}/crawl/{name}.warc" for name in "ac"] + ["s3://commoncrawl/x"])
    with pytest.raises(JobError, match="b.warc': a link"):
        storage.confirm([f"{storage.data}/crawl/b.warc"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (job(output={}), "output.path: missing"),
        (job(output={"path": "."}), "output.path: '.': holds more than one job's folder"),
        (job(output={"path": BUCKET}), "holds more than one job's folder"),
        (job(output={"path": "s3://commoncrawl/out"}), "not among what jobs may name here; write a path below the"
         " service's data folder, as in crawls/first, or one below s3://team/crawls"),
        (job(output={"path": "https://data.commoncrawl.org/out"}), "output.path: .*not among"),
        (job(output={"path": "out*"}), "of which patterns are made"),
        (job(output={"path": "crawl"}), r"output.path: .* holds source.paths\[0\]"),
        (job(("out/data/*.parquet",)), r"holds source.paths\[0\]"),
        (snapshot("out/mirror"), "holds source.base"),
        (job(stages=[{"minhash": {"index": "out/index"}}]), "holds minhash.index"),
        (job(stages=[{"minhash": {"against": "out"}}]), "lies in minhash.against"),
        (job(stages=[{"minhash": {"index": "runs"}}], output={"path": "runs/out"}), "lies in minhash.index"),
        (job(stages=[{"minhash": {"index": "."}}]), "minhash.index: '.': holds more than one"),
        (job(stages=[{"refetch": {"contact": "a@b.example", "earlier": ["out"]}}]), "lies in refetch.earlier"),
        (job(recipe="../r.yaml"), r"recipe: '../r.yaml': not a shipped recipe; .*recipe: \{stages: \[...\]\}"),
        (job(recipe="finweb"), "did you mean fineweb"),
        (job(recipe="/etc/passwd"), "not a shipped recipe"),
        (snapshot(None, snapshot="../x"), "source.snapshot: '../x' is not the"),
        (snapshot(None, files="a"), "source.files: 'a'"),
        ([], "not a job"),
        ("../../etc/passwd", "not a job"),
    ],
)  # fmt: skip
def test_other_refusals(content: object, said: str, storage: Storage) -> None:
    with pytest.raises(JobError, match=said):
        check(content, storage)


def test_an_output_above_a_place_that_is_allowed(tmp_path: Path) -> None:
    storage = Storage(tmp_path, StoragePolicy(read=(f"{tmp_path}/shared/archive",), write=("s3://b/a/b",)))
    for path in ("shared", "shared/archive"):
        with pytest.raises(JobError, match="holds more than one job's folder"):
            check(job(output={"path": path}), storage)
    check(job(output={"path": "shared2"}), storage)


VISION = {"endpoint": "http://ocr:8000/v1", "model": "m", "api_key_env": "OCR_KEY"}
SAYS = "datatrove_blocks.Says"
REACHING = [
    ("ocr.endpoint", {"extract_pdf": {"ocr": VISION}}, {"key_variables": ["OCR_KEY"]},
     {"endpoints": ["http://ocr:8000/v1"]}),
    ("ocr.api_key_env", {"extract_pdf": {"ocr": VISION}}, {"endpoints": ["http://ocr:8000/"]},
     {"key_variables": ["OCR_KEY"]}),
    ("allow_hosts", {"refetch": {"contact": "a@b.example", "allow_hosts": ["10.0.0.1:80"]}}, {"hosts": ["10.0.0.1:8"]},
     {"hosts": ["10.0.0.1:80"]}),
    ("block", {"datatrove": {"block": SAYS}}, {}, {"blocks": [SAYS]}),
    ("block", {"datatrove": {"block": "antigravity.x"}}, {"blocks": ["antigravity"]}, {"blocks": ["antigravity.x"]}),
    ("tokenizer", {"token_count": {"tokenizer": "gpt2"}}, {}, {"hub": True}),
    ("tokenizer", {"token_count": {"tokenizer": "openai/gpt-oss"}}, {}, {"hub": True}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "stage", "without", "allowed"), REACHING)
def test_what_else_is_the_operators_to_allow(
    field: str, stage: dict[str, Any], without: dict[str, Any], allowed: dict[str, Any], tmp_path: Path
) -> None:
    (kind,) = stage
    said = refusal(job(stages=[stage]), Storage(tmp_path, StoragePolicy(**without)))
    assert said.startswith(f"job: {kind}.{field}: "), said
    assert "the operator of the service does not allow it" in said
    placed = check(job(stages=[stage]), Storage(tmp_path, StoragePolicy(**without | allowed)))
    assert placed.recipe == {"stages": [stage]}


@pytest.mark.parametrize("endpoint", ["http://ocr:80/v1", "https://ocr:8000/v1", "http://ocr.evil:8000/v1",
                                      "http://ocr:8000/v1/../x", "http://ocr:8000/v2", "http://ocr:8000/v1%2f..",
                                      "http://ocr:8000\\@evil/v1"])  # fmt: skip
def test_endpoints_that_look_like_the_one_that_is_allowed(endpoint: str, tmp_path: Path) -> None:
    storage = Storage(tmp_path, StoragePolicy(endpoints=("http://ocr:8000/v1",)))
    ocr = {"extract_pdf": {"ocr": {"endpoint": endpoint, "model": "m"}}}
    said = refusal(job(stages=[ocr]), storage)
    assert said.startswith(("job: extract_pdf.ocr.endpoint: ", "recipe: stages[0].ocr: endpoint: "))


def test_importing_what_a_job_names_waits_for_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "touches.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "datatrove.block" in refusal(job(stages=[{"datatrove": {"block": "touches.X"}}]), Storage(tmp_path))
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "tokenizer", ["../x.json", "/etc/passwd", "a/b/../c", "x/..", "gpt2\n", ".x/y", "https://evil.example/t.json", "-x"]
)
def test_no_tokenizer_of_the_hub(tokenizer: str, tmp_path: Path) -> None:
    content = job(stages=[{"token_count": {"tokenizer": tokenizer}}])
    said = refusal(content, Storage(tmp_path, StoragePolicy(hub=True)))
    assert said.startswith("job: token_count.tokenizer: ")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"read": ["data"]}, "not an absolute path"),
        ({"read": ["s3://b/*"]}, "read as a pattern"),
        ({"read": ["/a/../b"]}, "goes up"),
        ({"write": ["https://x.example/"]}, "nothing can be written there"),
        ({"reads": []}, "reads"),
    ],
)
def test_settings_that_mean_nothing(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        StoragePolicy.model_validate(setting)


def test_a_data_folder_that_patterns_could_not_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read as a pattern"):
        Storage(tmp_path / "[data]")


def test_outputs_that_lie_in_one_another() -> None:
    assert overlap("/data/out", "/data/out/part") and overlap("s3://b/x/y", "s3://b/x") and overlap("/a", "/a")
    assert (
        not overlap("/data/out", "/data/out2")
        and not overlap("s3://b/x", "s3://c/x")
        and not overlap("/b/x", "s3://b/x")
    )
    assert str(locate("s3://b")) == "s3://b/"


# Nobody forgets a field

WORDS = {
    "contact", "keep", "ocr_languages", "email_replacements", "ipv4_replacements", "ipv6_replacements",
    "ocr.model", "ocr.prompt",
}  # fmt: skip
"""Fields of stages whose text names nothing outside the job."""


def texts(model: type[BaseModel], inside: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model that hold text, those of models in it included."""
    for name, info in model.model_fields.items():
        waiting = [info.annotation]
        while waiting:
            kind = waiting.pop()
            if kind in (str, Any) or (isinstance(kind, type) and issubclass(kind, Path | bytes)):
                yield inside + name, info
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from texts(kind, f"{inside}{name}.")
            elif get_origin(kind) is not Literal:
                waiting += get_args(kind)


@pytest.mark.parametrize("kind", list(STAGES))
def test_every_text_of_a_stage_is_marked_or_known_to_be_harmless(kind: str) -> None:
    for name, info in texts(STAGES[kind]):
        found, known = marks(info), name in WORDS or name == "kind"
        assert known != bool(found), f"{kind}.{name}: mark what it names (stages.stage.Reaches), or list it here"
        moves = any(isinstance(mark, Asset) or mark.what.startswith("place") for mark in found)
        assert not ("." in name and moves), f"{kind}.{name}: paths are made absolute in a stage's own fields alone"
    assert STAGES[kind].model_config.get("extra") == ("allow" if kind == "datatrove" else "forbid")


def test_every_text_of_a_job_is_known() -> None:
    known: dict[type[BaseModel], set[str]] = {
        Job: {"name", "recipe", "override", "output.path", "source.paths", "source.base", "source.snapshot",
              "source.files", "source.index.where", "source.kind", "source.text", "source.id"},
        Output: {"path"}, Run: set(), IndexSelection: {"where"}, WarcSource: {"paths"},
        CommonCrawlSource: {"snapshot", "files", "base", "index.where"}, ParquetSource: {"paths", "text", "id"},
    }  # fmt: skip
    for model, names in known.items():
        assert {name for name, _ in texts(model)} <= names, f"{model.__name__}: see to it in pipeline.service.placing"
