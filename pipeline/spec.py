"""What a user writes, job and recipe: read from YAML, checked, and refused in one line that names the place.

Nothing here looks at inputs, models or storage; `pipeline.plan` does.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    field_validator,
)

from stages.catalog import RECIPES, STAGES, did_you_mean, shipped_recipes
from stages.dedup.exact import DedupPayload
from stages.fetch.refetch import Refetch
from stages.stage import IsolatedStage, Meeting, Rule, Stage

MAX_YAML = 4 * 2**20
MAX_STAGES = 200
"""Of a recipe; FineWeb has 15. Each is looked at beside each other."""
MAX_PATHS = 10_000
"""Of a source; patterns may match any number."""


class JobError(ValueError):
    """The job, recipe or command line is wrong. One line: where, what is wrong, what to write instead."""

    def __init__(self, line: str) -> None:
        super().__init__(" ".join(line.splitlines()))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WarcSource(_Part):
    kind: Literal["warc"]
    paths: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_PATHS)]
    requests_per_second: PositiveFloat = 2.0
    """Of all workers together, where paths are https://."""


class IndexSelection(_Part):
    where: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]
    """SQL over the columns of Common Crawl's columnar index, as behind WHERE (`stages.read.cc_index`)."""
    limit: PositiveInt | None = None
    """Records; which ones is fixed, and they are spread over the snapshot (`pipeline.gathering`)."""


class CommonCrawlSource(_Part):
    kind: Literal["commoncrawl"]
    snapshot: str
    files: str | None = None
    """Slice of the snapshot's WARC files; with `index`, of its index files, which are what is then read to choose."""
    index: IndexSelection | None = None
    base: str = "https://data.commoncrawl.org/"
    requests_per_second: PositiveFloat = 2.0


class ParquetSource(_Part):
    kind: Literal["parquet"]
    paths: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_PATHS)]
    text: str = "text"
    id: str = "id"
    requests_per_second: PositiveFloat = 2.0


Source = Annotated[WarcSource | CommonCrawlSource | ParquetSource, Field(discriminator="kind")]


class Output(_Part):
    path: str | None = None
    shard_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(512 * 10**6)
    """Compressed size at which a data part is full."""
    partition_by: tuple[Literal["language"], ...] = ()
    shuffle: int | None = None
    dropped_text: Literal["none", "sample", "all"] = "sample"


class Run(_Part):
    max_failed_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """0.001 when left out, and 0.02 where PDFs are read."""
    max_failed_shards: NonNegativeInt = 0
    cpus_per_shard: PositiveInt = 1
    memory_per_shard: Annotated[ByteSize, Field(ge=256 * 2**20)] = ByteSize(1536 * 2**20)
    """What Ray sets aside for a worker and its child processes."""


class Job(_Part):
    """One curation job, as the contract describes it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    source: Source
    recipe: str | dict[str, Any] = "fineweb"
    """A shipped recipe's name, the path of a file, or what such a file holds."""
    override: dict[str, dict[str, Any]] = {}
    output: Output = Output()
    run: Run = Run()

    @property
    def recipe_name(self) -> str:
        """What people call the recipe."""
        return self.recipe if isinstance(self.recipe, str) else "inline"

    @field_validator("recipe", mode="before")
    @classmethod
    def _named_or_written_out(cls, value: Any) -> Any:
        if not isinstance(value, str | dict):
            raise ValueError("neither a recipe's name nor {stages: [...]}")
        return value

    @field_validator("override", mode="before")
    @classmethod
    def _empty_override(cls, value: Any) -> Any:
        return {} if value is None else value


def load_job(path: Path) -> Job:
    """The job in a YAML file. Raises JobError."""
    return parse_job(read_yaml(path), str(path))


def parse_job(content: Any, place: str) -> Job:
    """A job from what YAML or JSON held; `place` begins the error's line. Raises JobError."""
    if not isinstance(content, dict):
        raise JobError(f"{place}: not a job: write `name:`, `source:` and `recipe:` at the left margin")
    try:
        return Job.model_validate(content)
    except ValidationError as error:
        raise JobError(f"{place}: {first_line(error.errors(include_url=False), Job)}") from error


def self_contained(path: Path) -> dict[str, Any]:
    """The job in a YAML file as it can be sent to where its recipe's file is not: that file's content stands in its
    place. Plain data, checked but for what a plan finds. Other paths are left as they are: they are of the place where
    the job runs. Raises JobError.
    """
    content = read_yaml(path)
    job = parse_job(content, str(path))
    load_stages(job, path.parent)
    if isinstance(job.recipe, str) and job.recipe not in shipped_recipes():
        content = {**content, "recipe": _recipe_content(job.recipe, path.parent)[1]}
    try:
        json.dumps(content)
    except TypeError as error:  # YAML has dates, bytes and sets
        raise JobError(f"{path}: holds what JSON cannot ({error}); write it in quotes") from error
    return cast(dict[str, Any], content)


def load_stages(job: Job, folder: Path) -> tuple[Stage, ...]:
    """The stages of the job's recipe with its overrides; a recipe's path is relative to `folder`. Raises JobError.

    Every stage takes `enabled: false`, which leaves it out; what else is said of it must be right all the same.
    """
    place, recipe = _recipe_content(job.recipe, folder)
    entries = _recipe_entries(recipe, place)
    named = [_name_and_fields(entry, f"{place}: stages[{i}]") for i, entry in enumerate(entries)]
    for kind in job.override:
        if kind not in {name for name, _ in named}:
            raise JobError(f"override.{kind}: the recipe has no such stage{did_you_mean(kind, [n for n, _ in named])}")
    stages = []
    for i, (kind, fields) in enumerate(named):
        changed = job.override.get(kind) or {}
        at = f"override.{kind}" if changed else f"{place}: stages[{i}]"
        fields = {**fields, **changed}
        enabled = fields.pop("enabled", True)
        if not isinstance(enabled, bool):
            raise JobError(f"{at}.enabled: neither true nor false (it is {reprlib.repr(enabled)})")
        if enabled:
            stages.append(make_stage(kind, fields, at))
            continue
        _check_left_out(kind, fields, at)
        if changed and "enabled" not in changed:
            raise JobError(f"{at}: the recipe leaves this stage out; write enabled: true as well")
    if not stages:
        raise JobError(f"{place}: every stage is left out")
    _check_order(stages, place)
    return tuple(stages)


def _check_order(stages: Sequence[Stage], place: str) -> None:
    """What no flow can run: texts needed before there are any, payloads after they were read, and two rules or meetings
    of one kind for the same records.
    """
    for i, stage in enumerate(stages):
        here = f"{place}: stages[{i}]: {stage.kind}"
        if isinstance(stage, Refetch | DedupPayload) and not _readers(stage, stages[i:]):
            for reader in _readers(stage, stages[:i])[:1]:
                raise JobError(f"{here} is for payloads, which {reader.kind} has read; put it before {reader.kind}")
        for other in stages[:i]:
            if isinstance(stage, IsolatedStage) and other.needs_text and not isinstance(other, IsolatedStage):
                raise JobError(f"{here} makes the text that {other.kind} needs; put it before {other.kind}")
            same_records = other.only == stage.only or None in (other.only, stage.only)
            if isinstance(stage, Rule | Meeting) and other.kind == stage.kind and same_records:
                raise JobError(f"{here} stands here twice for the same records; write `only:` at both")


def _readers(stage: Stage, some: Sequence[Stage]) -> list[IsolatedStage]:
    """Of some stages those that make text of the records that `stage` is for."""
    extractors = [each for each in some if isinstance(each, IsolatedStage)]
    return [e for e in extractors if any(e.only in (None, m) and stage.only in (None, m) for m in e.handles)]


def read_yaml(path: Path) -> Any:
    """The content of a small YAML file. Raises JobError."""
    try:
        if path.stat().st_size > MAX_YAML:
            raise JobError(f"{path}: larger than {MAX_YAML} bytes, which no job or recipe is")
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise JobError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise JobError(f"{path}: not UTF-8 text") from error


def parse_yaml(text: str, place: str) -> Any:
    """What YAML holds; `place` begins the error's line. Raises JobError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}" if mark else place
        said = " ".join(str(getattr(error, "problem", None) or error).split())
        raise JobError(f"{where}: not valid YAML: {said}") from error
    except RecursionError as error:
        raise JobError(f"{place}: nested too deeply") from error


class _Loader(yaml.SafeLoader):
    """YAML without surprises: a key that stands twice is an error, not the last one's victory, and nothing is repeated
    by reference, since a dozen lines of that stand for more than any memory holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"aliases are not taken; write out what *{alias.anchor} stands for", alias.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is no name; write it in quotes", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # Python's, of a date such as 2024-13-45 or a number of 5,000 digits
            said = f"{error}; write it in quotes"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error


def _recipe_content(recipe: str | dict[str, Any], folder: Path) -> tuple[str, Any]:
    """What a recipe holds, unchecked, and what errors call it."""
    if not isinstance(recipe, str):
        return "recipe", recipe
    shipped = recipe in shipped_recipes()
    path = RECIPES / f"{recipe}.yaml" if shipped else folder / recipe
    if not shipped and not os.path.isfile(path):  # unlike Path.is_file it takes any string
        raise JobError(f"recipe {recipe}: neither a shipped recipe nor a file{did_you_mean(recipe, shipped_recipes())}")
    return f"recipe {recipe}" if shipped else str(path), read_yaml(path)


def _recipe_entries(content: Any, place: str) -> list[Any]:
    if not isinstance(content, dict) or not isinstance(content.get("stages"), list) or not content["stages"]:
        raise JobError(f"{place}: needs a list `stages:`")
    for key in content:
        if key not in ("stages", "description"):
            raise JobError(f"{place}: {key}: unknown{did_you_mean(key, ['stages', 'description'])}")
    if len(content["stages"]) > MAX_STAGES:
        raise JobError(f"{place}: {len(content['stages'])} stages; {MAX_STAGES} at most")
    return list(content["stages"])


def _name_and_fields(entry: Any, place: str) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        name, fields = next(iter(entry.items()))
        if fields is None or isinstance(fields, dict):
            return name, dict(fields or {})
    raise JobError(f"{place}: write a stage as `name` or as `name: {{field: value}}`")


def make_stage(kind: str, fields: Mapping[str, Any], place: str) -> Stage:
    """A stage by its name and fields; `place` begins the error's line. Raises JobError."""
    model = _stage_named(kind, fields, place)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise JobError(f"{place}.{first_line(error.errors(include_url=False), model)}") from error


def _check_left_out(kind: str, fields: Mapping[str, Any], place: str) -> None:
    """Raise JobError where a stage could not be turned on as it is written. Fields that it must have may come then."""
    model = _stage_named(kind, fields, place)
    try:
        model.model_validate(fields)
    except ValidationError as error:
        faults = [fault for fault in error.errors(include_url=False) if fault["type"] != "missing"]
        if faults:
            raise JobError(f"{place}.{first_line(faults, model)}") from error


def _stage_named(kind: str, fields: Mapping[str, Any], place: str) -> type[Stage]:
    if kind not in STAGES:
        raise JobError(f"{place}: {kind} is no stage{did_you_mean(kind, list(STAGES))}")
    if "kind" in fields:
        raise JobError(f"{place}.kind: unknown; the stage's name stands before its fields")
    return STAGES[kind]


def first_line(faults: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> str:
    """`output.shard_byte: unknown; did you mean shard_bytes?`: the first fault, and how many more there are."""
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    where, known = _place(fault["loc"], model)
    if fault["type"] == "extra_forbidden":
        said = "unknown" + did_you_mean(
            str(fault["loc"][-1]), [name for name in known if name != "kind"] or list(known)
        )
    elif fault["type"] == "missing":
        said = "missing"
    elif fault["type"].startswith("union_tag"):
        tag, where = fault.get("ctx", {}).get("tag", ""), f"{where}.kind"
        said = ("unknown" if tag else "missing") + did_you_mean(tag, list(_SOURCES))
    else:
        said = _HINTS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
        said = said[:1].lower() + said[1:] if said[1:2].islower() else said
        if not isinstance(fault["input"], dict | list):
            said += f" (it is {reprlib.repr(fault['input'])})"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where}: {said}{more}"


def _place(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, list[str]]:
    """A pydantic location as a user would write it, and the fields that are known there."""
    words, known = "", list(model.model_fields)
    for depth, step in enumerate(loc):
        if depth == 1 and loc[0] == "source" and step in _SOURCES:  # pydantic names the member of a union, users do not
            known = list(_SOURCES[str(step)].model_fields)
            continue
        if depth == 0 and model is Job and step in _PARTS:
            known = list(_PARTS[str(step)].model_fields)
        if depth == 2 and loc[0] == "source" and step == "index":
            known = list(IndexSelection.model_fields)
        words += f"[{step}]" if isinstance(step, int) else f".{step}" if words else str(step)
    return words, known


_HINTS = {
    "string_type": "not text; write it in quotes",
    "string_pattern_mismatch": "write letters, digits and . _ - alone, a letter or digit first, 128 at most",
    **dict.fromkeys(["tuple_type", "list_type"], "not a list; write [a, b]"),
    **dict.fromkeys(["dict_type", "model_type", "model_attributes_type"], "has fields; write {field: value}"),
    "too_short": "an empty list; name at least one",
    "too_long": "too long a list; name many files by a pattern, as in crawl/*.warc.gz",
}
"""What to write instead, by pydantic's name of a fault, where its own words speak of Python."""
_SOURCES: dict[str, type[BaseModel]] = {"warc": WarcSource, "commoncrawl": CommonCrawlSource, "parquet": ParquetSource}
_PARTS: dict[str, type[BaseModel]] = {"output": Output, "run": Run}
