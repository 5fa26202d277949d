"""A submitted job with its places as the service has them, or why the operator does not allow it.

A job is written by one person and runs with the rights of the service, so every field that names something outside the
job is looked at: those of stages as their marks say (`stages.stage.Asset` and `Reaches`; a test fails where a field of
text has none). What is looked at are the stages that will run, as they were loaded, and not what was written. Nothing
is opened or asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.service.locations import Location, locate
from pipeline.service.policy import SHOWN, Storage
from pipeline.spec import CommonCrawlSource, Job, JobError, Source, load_stages
from stages.read.commoncrawl import parse_slice, paths_list
from stages.stage import Asset, Reaches, Stage

_BUILTIN = re.compile(r"builtin:[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")

Mark = Asset | Reaches
Moved = Mapping[tuple[str, str], Mapping[str, str]]
"""By stage and field what each value has become."""


def place(job: Job, stages: Sequence[Stage], storage: Storage) -> Job:
    """The job with its relative paths made absolute. stages: those that it loads. Raises JobError for whatever the
    operator does not allow.
    """
    if job.output.path is None:
        raise JobError("job: output.path: missing; name a folder there")
    output = storage.writing(job.output.path, "output.path")
    read, source = _place_source(job.source, storage)
    moved: dict[tuple[str, str], dict[str, str]] = {}
    for stage in stages:
        for name, mark, value in reached(stage):
            where = f"{stage.kind}.{name}"
            new = _judge(mark, where, value, storage)
            moved.setdefault((stage.kind, name), {})[value] = new
            if isinstance(mark, Reaches) and mark.what.startswith("place"):
                read[where] = locate(new)
                if locate(output).below(read[where]):
                    raise JobError(f"job: output.path: {output}: lies in {where}; name a folder of its own")
    for where, at in read.items():
        if at.fixed.below(locate(output)):
            raise JobError(f"job: output.path: {output}: holds {where}; name a folder of its own")
    changes: dict[str, Any] = {"source": source, "output": job.output.model_copy(update={"path": output})}
    if isinstance(job.recipe, dict):
        changes["recipe"] = {**job.recipe, "stages": [_entry(entry, moved) for entry in job.recipe["stages"]]}
    if job.override:
        changes["override"] = {kind: _fields(kind, fields, moved) for kind, fields in job.override.items()}
    placed = job.model_copy(update=changes)
    _confirm_moved(placed, storage, moved)
    return placed


def _place_source(source: Source, storage: Storage) -> tuple[dict[str, Location], Source]:
    """Where a source lies, by field, and the source with it."""
    if isinstance(source, CommonCrawlSource):
        for name, check in (("snapshot", paths_list), ("files", parse_slice)):
            try:
                check(getattr(source, name) or "0")
            except ValueError as error:
                raise JobError(f"job: source.{name}: {error}") from error
        base = storage.reading(source.base, "source.base")
        same = base == source.base
        return {"source.base": locate(base)}, source if same else source.model_copy(update={"base": base})
    names = [f"source.paths[{number}]" for number in range(len(source.paths))]
    paths = tuple(storage.reading(path, name, pattern=True) for name, path in zip(names, source.paths))
    return dict(zip(names, map(locate, paths))), source.model_copy(update={"paths": paths})


def reached(part: BaseModel, inside: str = "") -> Iterator[tuple[str, Mark, str]]:
    """What a stage names of the world outside: field, mark, value."""
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from reached(value, f"{inside}{name}.")
        for mark in marks(info):
            yield from ((inside + name, mark, each) for each in _texts(value))


def marks(info: FieldInfo) -> list[Mark]:
    """The marks of a field, wherever in its annotation they sit."""
    found, waiting = list(info.metadata), [info.annotation]
    while waiting:
        kind = waiting.pop()
        found += getattr(kind, "__metadata__", ())
        waiting += [each for each in get_args(kind) if isinstance(each, type) or get_args(each)]
    return [each for each in found if isinstance(each, Asset | Reaches)]


def _texts(value: object) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def _judge(mark: Mark, where: str, value: str, storage: Storage) -> str:
    """The value as the job is to have it. Raises JobError."""
    policy = storage.policy
    if isinstance(mark, Asset):
        if _BUILTIN.fullmatch(value):
            return value
        is_path = value.startswith("/") or "://" in value or value.endswith(".json") or value.count("/") > 1
        if where == "token_count.tokenizer" and not is_path:  # read as `pipeline.assets` reads it
            return _one_of(value, (value,) if policy.hub and _HUB.fullmatch(value) else (), where, "a tokenizer.json")
        return storage.reading(value, where)
    match mark.what:
        case "place read":
            return storage.reading(value, where)
        case "place written":
            return storage.writing(value, where)
        case "endpoint":
            if not any(_located(value, where).below(locate(prefix)) for prefix in policy.endpoints):
                return _one_of(value, policy.endpoints, where, "one below")
            return value
        case "variable":
            return _one_of(value, policy.key_variables, where, "one of")
        case "host":
            return _one_of(value, policy.hosts, where, "one of")
        case "code":
            return _one_of(value, policy.blocks, where, "one of")


def _located(value: str, where: str) -> Location:
    try:
        return locate(value)
    except ValueError as error:
        raise JobError(f"job: {where}: {value[:SHOWN]!a}: {error}") from error


def _one_of(value: str, allowed: Sequence[str], where: str, instead: str) -> str:
    if value not in allowed:
        known = f"write {instead} {', '.join(allowed)}".rstrip() if allowed or "." in instead else "leave it out"
        raise JobError(f"job: {where}: {value[:SHOWN]!a}: the operator of the service does not allow it; {known}")
    return value


def _entry(entry: Any, moved: Moved) -> Any:
    """An entry of a recipe, with its places where they are."""
    if not isinstance(entry, dict):
        return entry
    return {kind: fields and _fields(kind, fields, moved) for kind, fields in entry.items()}


def _fields(kind: str, fields: Mapping[str, Any], moved: Moved) -> dict[str, Any]:
    def new(name: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [new(name, each) for each in value]
        return moved.get((kind, name), {}).get(value, value) if isinstance(value, str) else value

    return {name: new(name, value) for name, value in fields.items()}


def _confirm_moved(job: Job, storage: Storage, moved: Moved) -> None:
    """What the job loads now is what was judged: every value has gone where it was to go."""
    judged = {(kind, name, new) for (kind, name), news in moved.items() for new in news.values()}
    for stage in load_stages(job, storage.data):
        for name, _, value in reached(stage):
            if (stage.kind, name, value) not in judged:
                raise JobError(f"job: {stage.kind}.{name}: {value[:SHOWN]!a}: write it as plain text")
