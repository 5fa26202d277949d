"""What a user can write wrong in a job or recipe, and the one line that says so: lines that scripts may read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline.spec import Job, JobError, load_job, load_stages, parse_job, self_contained
from stages.catalog import STAGES, shipped_recipes
from stages.filter.gopher import GopherQuality
from stages.language.identify import Language

SOURCE = "source: {kind: warc, paths: [a.warc]}\n"
GOOD = f"name: x\n{SOURCE}"
NO_RECIPE = f"neither a shipped recipe nor a file; known: {', '.join(shipped_recipes())}"


def refusal(folder: Path, job: str | bytes, recipe: str | None = None) -> str:
    """What is said of a job, without the folder; the recipe, when given, stands in r.yaml and is used."""
    if recipe is not None:
        (folder / "r.yaml").write_text(recipe, encoding="utf-8")
        job = f"{job!s}recipe: r.yaml\n"
    path = folder / "job.yaml"
    path.write_bytes(job if isinstance(job, bytes) else job.encode())
    with pytest.raises(JobError) as raised:
        load_stages(load_job(path), folder)
    said = str(raised.value)
    assert len(said.splitlines()) == 1
    return said.replace(f"{folder}/", "")


FIELDS = [
    ("", "not a job: write `name:`, `source:` and `recipe:` at the left margin"),
    ("- name: x", "not a job: write `name:`, `source:` and `recipe:` at the left margin"),
    ("name: x", "source: missing"),
    (SOURCE, "name: missing"),
    (f"{GOOD}nam: y", "nam: unknown; did you mean name?"),
    (f"{GOOD}zzz: y", "zzz: unknown; known: name, source, recipe, override, output, run"),
    (f'{GOOD}"a\\nb": y', "a b: unknown; known: name, source, recipe, override, output, run"),
    (f"{GOOD}output: {{shard_byte: 1}}", "output.shard_byte: unknown; did you mean shard_bytes?"),
    (f"{GOOD}output: {{x: 1, y: 2, path: 3}}",
     "output.x: unknown; known: path, shard_bytes, partition_by, shuffle, dropped_text (and 2 more)"),
    (f"{GOOD}run: {{max_failed: 1}}", "run.max_failed: unknown; did you mean max_failed_share?"),
    ("name: x\nsource: {kind: warc, path: [a]}", "source.path: unknown; did you mean paths? (and 1 more)"),
    ("name: x\nsource: {kind: commoncrawl, snapshot: S, file: a}", "source.file: unknown; did you mean files?"),
    ("name: x\nsource: {kind: parquet, paths: [a], txt: b}", "source.txt: unknown; did you mean text?"),
    ("name: x\nsource: {kind: commoncrawl}", "source.snapshot: missing"),
    ("name: x\nsource: {kind: wrc, paths: [a]}", "source.kind: unknown; did you mean warc?"),
    ("name: x\nsource: {kind: 5, paths: [a]}", "source.kind: unknown; known: warc, commoncrawl, parquet"),
    ("name: x\nsource: {paths: [a]}", "source.kind: missing; known: warc, commoncrawl, parquet"),
    ("name: x\nsource: a.warc", "source: has fields; write {field: value} (it is 'a.warc')"),
    ("name: x\nsource: {kind: warc, paths: a.warc}", "source.paths: not a list; write [a, b] (it is 'a.warc')"),
    ("name: x\nsource: {kind: warc, paths: []}", "source.paths: an empty list; name at least one"),
    ("name: x\nsource: {kind: warc, paths: [a, 1]}", "source.paths[1]: not text; write it in quotes (it is 1)"),
    (f"name: 12\n{SOURCE}", "name: not text; write it in quotes (it is 12)"),
    (f"name: 2024-01-01\n{SOURCE}", "name: not text; write it in quotes (it is datetime.date(2024, 1, 1))"),
    (f"name: a/b\n{SOURCE}",
     "name: write letters, digits and . _ - alone, a letter or digit first, 128 at most (it is 'a/b')"),
    (f"name: {'a' * 129}\n{SOURCE}",
     "name: write letters, digits and . _ - alone, a letter or digit first, 128 at most"
     " (it is 'aaaaaaaaaaaa...aaaaaaaaaaaaa')"),
    (f"{GOOD}recipe: [a]", "recipe: neither a recipe's name nor {stages: [...]}"),
    (f"{GOOD}output:", "output: has fields; write {field: value} (it is None)"),
    (f"{GOOD}override: [language]", "override: has fields; write {field: value}"),
    (f"{GOOD}override: {{language: }}", "override.language: has fields; write {field: value} (it is None)"),
    (f"{GOOD}output: {{shard_bytes: 5XB}}", "output.shard_bytes: could not interpret byte unit: XB (it is '5XB')"),
    (f"{GOOD}output: {{shard_bytes: lots}}",
     "output.shard_bytes: could not parse value and unit from byte string (it is 'lots')"),
    (f"{GOOD}output: {{shard_bytes: 0}}", "output.shard_bytes: input should be greater than or equal to 1 (it is 0)"),
    (f"{GOOD}output: {{partition_by: language}}", "output.partition_by: not a list; write [a, b] (it is 'language')"),
    (f"{GOOD}output: {{partition_by: [lang]}}", "output.partition_by[0]: input should be 'language' (it is 'lang')"),
    (f"{GOOD}output: {{shuffle: abc}}",
     "output.shuffle: input should be a valid integer, unable to parse string as an integer (it is 'abc')"),
    (f"{GOOD}output: {{dropped_text: some}}",
     "output.dropped_text: input should be 'none', 'sample' or 'all' (it is 'some')"),
    (f"{GOOD}run: {{max_failed_share: 2}}", "run.max_failed_share: input should be less than or equal to 1 (it is 2)"),
    (f"{GOOD}run: {{max_failed_share: .nan}}",
     "run.max_failed_share: input should be less than or equal to 1 (it is nan)"),
    (f"{GOOD}run: {{max_failed_shards: -1}}",
     "run.max_failed_shards: input should be greater than or equal to 0 (it is -1)"),
    (f"{GOOD}run: {{memory_per_shard: 1MB}}",
     "run.memory_per_shard: input should be greater than or equal to 268435456 (it is '1MB')"),
]  # fmt: skip


@pytest.mark.parametrize(("job", "said"), FIELDS)
def test_fields_of_a_job(job: str, said: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, job) == f"job.yaml: {said}"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (f"{GOOD}name: y", ":3: not valid YAML: name stands here twice"),
        (f"{GOOD}output:\n  path: a\n  path: b", ":5: not valid YAML: path stands here twice"),
        (f"{GOOD}1: y", ":3: not valid YAML: 1 is no name; write it in quotes"),
        (f"{GOOD}on: y", ":3: not valid YAML: True is no name; write it in quotes"),
        (f"{GOOD}? [a]\n: y", ":3: not valid YAML: ['a'] is no name; write it in quotes"),
        (f"{GOOD}output:\n  path: a\n b: c",
         ":5: not valid YAML: expected <block end>, but found '<block mapping start>'"),
        (f"{GOOD}output: {{", ":3: not valid YAML: expected the node content, but found '<stream end>'"),
        (f"{GOOD}\tx: y", ":3: not valid YAML: found character '\\t' that cannot start any token"),
        (f"{GOOD}x: *y", ":3: not valid YAML: aliases are not taken; write out what *y stands for"),
        (f"{GOOD}--- \nname: y", ":3: not valid YAML: but found another document"),
        (f"{GOOD}x: 2024-13-01", ":3: not valid YAML: month must be in 1..12; write it in quotes"),
        (f"{GOOD}x: !!python/name:os.system",
         ":3: not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system'"),
        (f"{GOOD}x: \0",
         ": not valid YAML: unacceptable character #x0000: special characters are not allowed"
         ' in "<unicode string>", position 49'),
        (b"\xff\xfe", ": not UTF-8 text"),
        ("[" * 1000, ": nested too deeply"),
        ("#" * (4 * 2**20 + 1), ": larger than 4194304 bytes, which no job or recipe is"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_yaml(job: str | bytes, said: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, job) == f"job.yaml{said}"


@pytest.mark.parametrize("kind", ["warc", "parquet"])
def test_a_list_of_very_many_paths(kind: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, f"name: x\nsource: {{kind: {kind}, paths: [{'a, ' * 10_001}]}}")
    assert said == "job.yaml: source.paths: too long a list; name many files by a pattern, as in crawl/*.warc.gz"


def test_a_number_of_many_digits(tmp_path: Path) -> None:
    assert refusal(tmp_path, f"{GOOD}x: {'9' * 5000}").startswith("job.yaml:3: not valid YAML: Exceeds the limit")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(JobError) as raised:
            load_job(path)
        assert str(raised.value) == f"{path}: {said}"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("", "needs a list `stages:`"),
        ("stages: []", "needs a list `stages:`"),
        ("stages: {language: }", "needs a list `stages:`"),
        ("stages: [pii]\ndescripton: x", "descripton: unknown; did you mean description?"),
        ("stages: [pii, langage]", "stages[1]: langage is no stage; did you mean language?"),
        ("stages: [zzz]", f"stages[0]: zzz is no stage; known: {', '.join(STAGES)}"),
        ("stages: [[pii]]", "stages[0]: write a stage as `name` or as `name: {field: value}`"),
        ("stages: [1]", "stages[0]: write a stage as `name` or as `name: {field: value}`"),
        ("stages: [{pii: , language: }]", "stages[0]: write a stage as `name` or as `name: {field: value}`"),
        ("stages: [{language: en}]", "stages[0]: write a stage as `name` or as `name: {field: value}`"),
        ("stages: [{gopher_quality: {min_word: 5}}]", "stages[0].min_word: unknown; did you mean min_words?"),
        ("stages: [{gopher_quality: {kind: pii}}]",
         "stages[0].kind: unknown; the stage's name stands before its fields"),
        ("stages: [{gopher_quality: {min_words: many}}]",
         "stages[0].min_words: input should be a valid integer, unable to parse string as an integer (it is 'many')"),
        ("stages: [{gopher_quality: {mean_word_length: 3}}]",
         "stages[0].mean_word_length: not a list; write [a, b] (it is 3)"),
        ("stages: [{gopher_quality: {mean_word_length: [3, x]}}]",
         "stages[0].mean_word_length[1]: input should be a valid number, unable to parse string as a number"
         " (it is 'x')"),
        ("stages: [{gopher_quality: {only: htm}}]", "stages[0].only: input should be 'html' or 'pdf' (it is 'htm')"),
        ("stages: [{extract_html: {extractor: trafilatur}}]",
         "stages[0].extractor: input should be 'trafilatura' or 'resiliparse' (it is 'trafilatur')"),
        ("stages: [{extract_html: {cpu_seconds: 0}}]",
         "stages[0].cpu_seconds: input should be greater than 0 (it is 0)"),
        ("stages: [{language: {keep: [no]}}]", "stages[0].keep: YAML reads no as false: write nob_Latn for Norwegian"),
        ("stages: [{language: {keep: en}}]", "stages[0].keep: not a list; write [a, b] (it is 'en')"),
        ("stages: [{language: {keep: [klingon]}}]",
         "stages[0].keep: unknown language 'klingon': write ISO 639-3 and ISO 15924, such as eng_Latn"),
        ("stages: [{language: {keep: []}}]",
         "stages[0].keep: an empty list keeps nothing: leave it out to keep every language"),
        ("stages: [datatrove]", "stages[0].block: missing"),
        ("stages: [{token_count: {tokenizer: 5}}]", "stages[0].tokenizer: not text; write it in quotes (it is 5)"),
        ("stages: [pii, extract_html]", "stages[1]: extract_html makes the text that pii needs; put it before pii"),
        ("stages: [pii, {langage: {enabled: false}}]", "stages[1]: langage is no stage; did you mean language?"),
        ("stages: [pii, {language: {enabled: false, minscore: 1}}]",
         "stages[1].minscore: unknown; did you mean min_score?"),
        ("stages: [pii, {language: {enabled: false, min_score: 65}}]",
         "stages[1].min_score: input should be less than or equal to 1 (it is 65)"),
        ("stages: [pii, {refetch: {enabled: false, contct: a@b.example}}]",
         "stages[1].contct: unknown; did you mean contact?"),
        ("stages: [{language: {enabled: maybe}}]", "stages[0].enabled: neither true nor false (it is 'maybe')"),
        ("stages: [{language: {enabled: false}}]", "every stage is left out"),
        ("stages: [extract_html, extract_pdf, {refetch: {contact: a@b.example}}]",
         "stages[2]: refetch is for payloads, which extract_pdf has read; put it before extract_pdf"),
        ("stages: [extract_html, dedup_payload]",
         "stages[1]: dedup_payload is for payloads, which extract_html has read; put it before extract_html"),
        ("stages: [language, pii, language]",
         "stages[2]: language stands here twice for the same records; write `only:` at both"),
        ("stages: [language, {language: {only: pdf}}]",
         "stages[1]: language stands here twice for the same records; write `only:` at both"),
    ],
)  # fmt: skip
def test_recipes(recipe: str, said: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, GOOD, recipe) == f"r.yaml: {said}"
    if recipe:
        assert refusal(tmp_path, f"{GOOD}recipe: {{{recipe.replace(chr(10), ', ')}}}") == f"recipe: {said}"


def test_a_recipe_that_is_no_yaml_names_itself(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD, "stages:\n  - pii\n  - pii: {")
    assert said == "r.yaml:3: not valid YAML: expected the node content, but found '<stream end>'"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("recipe: finweb", "recipe finweb: neither a shipped recipe nor a file; did you mean fineweb?"),
        ("recipe: my.yaml", f"recipe my.yaml: {NO_RECIPE}"),
        ("recipe: .", f"recipe .: {NO_RECIPE}"),
        (f"recipe: {'a' * 5000}", f"recipe {'a' * 5000}: {NO_RECIPE}"),
        ('recipe: "a\\nb"', f"recipe a b: {NO_RECIPE}"),
        ("override: {langage: {}}", "override.langage: the recipe has no such stage; did you mean language?"),
        ("recipe: extract-only\noverride: {pii: {}}",
         "override.pii: the recipe has no such stage; known: extract_html, language, token_count"),
        ("override: {language: {minscore: 0.5}}", "override.language.minscore: unknown; did you mean min_score?"),
        ("recipe: finepdfs\noverride: {refetch: {enabled: true}}", "override.refetch.contact: missing"),
        ("recipe: finepdfs\noverride: {refetch: {contact: a@b.example}}",
         "override.refetch: the recipe leaves this stage out; write enabled: true as well"),
        ("override: {language: {min_score: 65}}",
         "override.language.min_score: input should be less than or equal to 1 (it is 65)"),
        ("override: {token_count: {kind: x}}",
         "override.token_count.kind: unknown; the stage's name stands before its fields"),
    ],
)  # fmt: skip
def test_what_a_job_says_of_its_recipe(job: str, said: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, f"{GOOD}{job}") == said


# What is right


def job(text: str, folder: Path) -> Job:
    (folder / "job.yaml").write_text(text)
    return load_job(folder / "job.yaml")


@pytest.mark.parametrize(("written", "size"), [("512MB", 512 * 10**6), ("1GiB", 2**30), ("512 kB", 512_000), ("7", 7)])
def test_byte_sizes(written: str, size: int, tmp_path: Path) -> None:
    assert job(f"{GOOD}output: {{shard_bytes: {written}}}", tmp_path).output.shard_bytes == size


def test_an_empty_override_overrides_nothing(tmp_path: Path) -> None:
    assert (
        job(f"{GOOD}override:", tmp_path)
        == job(GOOD, tmp_path)
        == parse_job({"name": "x", "source": {"kind": "warc", "paths": ["a.warc"]}}, "here")
    )


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_shipped_recipes_are_right(recipe: str, tmp_path: Path) -> None:
    assert load_stages(job(f"{GOOD}recipe: {recipe}", tmp_path), tmp_path)


@pytest.mark.parametrize("recipe", ["fineweb", "recipes/my.yaml", {"stages": ["pii", "token_count"]}])
def test_a_job_that_holds_its_recipe_means_the_same(recipe: object, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/my.yaml").write_text(
        "description: mine\n"
        "stages: [extract_html, language: {keep: [en]}, gopher_quality: {mean_word_length: [3, .inf]}, token_count: ]"
    )
    written = {"name": "x", "source": {"kind": "warc", "paths": ["../a.warc"]}, "recipe": recipe}
    if not isinstance(recipe, dict):
        written["override"] = {"language": {"min_score": 0.7}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(written))
    sent = json.loads(json.dumps(self_contained(tmp_path / "job.yaml")))
    assert sent["source"] == written["source"], "other paths are the service's"
    assert isinstance(sent["recipe"], dict) == (recipe != "fineweb")
    here = load_stages(load_job(tmp_path / "job.yaml"), tmp_path)
    there = load_stages(parse_job(sent, "sent"), Path("/nowhere"))
    assert there == here
    assert [stage.model_fields_set for stage in there] == [stage.model_fields_set for stage in here]


@pytest.mark.parametrize(
    ("job", "recipe", "said"),
    [
        (GOOD + "recipe: none.yaml", "", f"recipe none.yaml: {NO_RECIPE}"),
        (GOOD + "recipe: my.yaml", "stages: [langage]",
         "my.yaml: stages[0]: langage is no stage; did you mean language?"),
        (GOOD + "recipe: my.yaml", "stages: [pii]\ndescription: 2026-01-01", "job.yaml: holds what JSON cannot (Object"
         " of type date is not JSON serializable); write it in quotes"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_sent(job: str, recipe: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(recipe)
    (tmp_path / "job.yaml").write_text(job)
    with pytest.raises(JobError) as raised:
        self_contained(tmp_path / "job.yaml")
    assert str(raised.value).replace(f"{tmp_path}/", "") == said


def test_an_override_changes_the_fields_it_names_of_every_stage_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "stages:\n"
        "  - language: {keep: [en], min_score: 0.5}\n"
        "  - gopher_quality: {only: html}\n"
        "  - gopher_quality: {only: pdf}\n"
    )
    override = "override: {language: {min_score: 0.7}, gopher_quality: {min_words: 9}}"
    stages = load_stages(job(f"{GOOD}recipe: r.yaml\n{override}", tmp_path), tmp_path)
    assert stages == (
        Language(keep=["eng_Latn"], min_score=0.7),
        GopherQuality(only="html", min_words=9),
        GopherQuality(only="pdf", min_words=9),
    )
