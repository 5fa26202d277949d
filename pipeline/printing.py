"""Plans, recipes and stages as text for people, or as JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

import click
import yaml
from pydantic import BaseModel
from rich.table import Table

from pipeline.command import console
from pipeline.plan import Plan
from pipeline.spec import JobError, make_stage, read_yaml
from stages.catalog import RECIPES, STAGES, did_you_mean, shipped_recipes
from stages.dedup import curve
from stages.dedup.minhash import MinHash
from stages.stage import Stage

SHOWN_INPUTS = 10


def print_plan(plan: Plan, resumes: bool) -> None:
    """A checked plan: inputs, stages, output."""
    out = console()
    known = [each.bytes for each in plan.inputs if each.bytes is not None]
    size = f"{sum(known):,} bytes" if len(known) == len(plan.inputs) else "sizes unknown before they are opened"
    chosen = plan.selection
    records = f"{chosen.records:,} records chosen by the index, in " if chosen is not None else ""
    out.print(f"job      {plan.job.name}", markup=False, highlight=False)
    out.print(
        f"output   {plan.output}{' (goes on from an earlier attempt)' if resumes else ''}",
        markup=False,
        highlight=False,
    )
    out.print(f"inputs   {records}{len(plan.inputs):,} files, {size}{' to fetch' if records else ''}", highlight=False)
    for each in plan.inputs[:SHOWN_INPUTS]:
        out.print(f"         {each.shard}", markup=False, highlight=False)
    if len(plan.inputs) > SHOWN_INPUTS:
        out.print(f"         and {len(plan.inputs) - SHOWN_INPUTS:,} more", highlight=False)
    out.print(f"recipe   {plan.job.recipe_name}", markup=False, highlight=False)
    for stage in plan.stages:
        fields = ", ".join(
            f"{name}={value}" for name, value in stage.model_dump(exclude_defaults=True).items() if name != "kind"
        )
        out.print(f"         {stage.kind} {fields}".rstrip(), markup=False, highlight=False, soft_wrap=True)
    for root, version in plan.indexes.items():
        what = f"at version {version.number}" if version else "not there yet"
        out.print(f"index    {root}, {what}", markup=False, highlight=False, soft_wrap=True)
    for note in plan.notes:
        out.print(f"note     {note}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"plan     {plan.fingerprint[:16]}; nothing was changed", highlight=False)


def print_recipes(as_json: bool) -> None:
    """Names and descriptions of the shipped recipes."""
    found = {name: read_yaml(RECIPES / f"{name}.yaml")["description"] for name in shipped_recipes()}
    _print_list(found, as_json)


def print_recipe(name: str, as_json: bool) -> None:
    """One recipe, as it is written. Raises JobError."""
    if name not in shipped_recipes():
        raise JobError(f"recipe {name}: not shipped{did_you_mean(name, shipped_recipes())}")
    path = RECIPES / f"{name}.yaml"
    click.echo(json.dumps(read_yaml(path)) if as_json else path.read_text(encoding="utf-8"), nl=as_json)


def print_stages(as_json: bool) -> None:
    """Names of the stages and the first line of what each says of itself."""
    _print_list({name: _about(stage)[0] for name, stage in STAGES.items()}, as_json)


def print_stage(name: str, as_json: bool) -> None:
    """One stage: what it does, its source, fields with defaults, reasons. Raises JobError."""
    if name not in STAGES:
        raise JobError(f"{name} is no stage{did_you_mean(name, list(STAGES))}")
    stage = STAGES[name]
    fields = {
        field: info.default.model_dump() if isinstance(info.default, BaseModel) else info.default
        for field, info in stage.model_fields.items()
        if field not in ("kind", "only") and not info.is_required()
    }
    required = [field for field, info in stage.model_fields.items() if info.is_required()]
    source = (inspect.getdoc(inspect.getmodule(stage)) or "").splitlines()[0]
    if as_json:
        about: dict[str, Any] = {
            "stage": name,
            "about": _about(stage),
            "source": source,
            "required": required,
            "fields": fields,
            "reasons": stage.reasons,
        }
        if stage is MinHash:
            about["curve"] = curve.table(MinHash().bands, MinHash().rows)
        click.echo(json.dumps(about, default=str))
        return
    out = console()
    out.print(f"[bold]{name}[/bold]")
    for paragraph in (source, *_about(stage)):
        out.print(paragraph, markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("field")
    table.add_column("default")
    for field in required:
        table.add_row(field, "(required)")
    for field, default in fields.items():
        table.add_row(field, json.dumps(default, default=str))
    out.print(table)
    reasons = ", ".join(stage.reasons) or "none: it drops nothing"
    out.print(f"reasons: {reasons}", markup=False, highlight=False, soft_wrap=True)
    if stage is MinHash:
        _print_curve(MinHash().bands, MinHash().rows)
        out.print("Other settings: crawlmill stages minhash --set bands=20 --set rows=6; chosen: --similarity 0.8")


def print_curve(settings: Sequence[str], similarity: float | None, as_json: bool) -> None:
    """The chance that minhash compares two texts, with `FIELD=VALUE` settings or with bands and rows chosen for a
    similarity. Raises JobError.
    """
    fields = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        try:
            fields[field] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise JobError(f"--set {setting}: write FIELD=VALUE, as in --set bands=20")
    stage = make_stage("minhash", fields, "--set")
    assert isinstance(stage, MinHash)
    bands, rows = stage.bands, stage.rows
    if similarity is not None:
        try:
            bands, rows = curve.choose(similarity, stage.hashes)
        except ValueError as error:
            what = f"no bands and rows of {stage.hashes} hashes part at {similarity:g}"
            raise JobError(f"--similarity: {what}; give more hashes with --set, or another similarity") from error
    if as_json:
        points = [{"similarity": at, "probability": chance} for at, chance in curve.table(bands, rows)]
        click.echo(json.dumps({"stage": "minhash", "bands": bands, "rows": rows, "curve": points}))
    else:
        _print_curve(bands, rows)


def _print_curve(bands: int, rows: int) -> None:
    out = console()
    out.print(
        f"With bands: {bands} and rows: {rows} two texts of this Jaccard similarity are compared with probability"
    )
    for similarity, chance in curve.table(bands, rows):
        out.print(f"  {similarity:4.2f}  {chance:7.2%}  {'█' * round(40 * chance)}", highlight=False)


def _about(stage: type[Stage]) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (inspect.getdoc(stage) or "").split("\n\n")]


def _print_list(entries: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(entries))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, said in entries.items():
        table.add_row(name, str(said))
    console().print(table)
