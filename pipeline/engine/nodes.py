"""What a run needs of every node beside the same installation: its local places in sight, the same models and lists.

A local path means another disk on another machine unless it is shared. So the driver leaves a mark of random content in
each folder that nodes write to, and every node must read it there. Nothing here knows how nodes are reached.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.assets import AssetError, Pin, resolve
from pipeline.index import VERSIONS
from pipeline.store import Store, local
from stages.dedup.minhash import MinHash
from stages.fetch.refetch import Refetch
from stages.stage import Stage

if TYPE_CHECKING:
    from pipeline.plan import Plan

REMEDY = "use storage that every node sees (a shared folder at the same path, or s3://…)"
SETTLE_SECONDS = 30.0
"""NFS remembers for so long that a file was not there (nfs(5): acdirmax is 60 s, acdirmin 30 s)."""
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Mark:
    """A small file that every node must read as the driver wrote it."""

    root: str
    path: str
    content: str


@dataclass(frozen=True)
class Needs:
    """Picklable. files: absolute local paths with their sizes, where known; folders: local ones that are read."""

    stages: tuple[Stage, ...]
    pins: tuple[Pin, ...]
    marks: tuple[Mark, ...]
    files: tuple[tuple[str, int | None], ...]
    folders: tuple[str, ...]


def needs_of(plan: Plan) -> Needs:
    """What a plan needs. Writes nothing: `leave_marks` does."""
    name = secrets.token_hex(8)
    marks = [Mark(plan.output, ".work/mark", name)]
    marks += [Mark(stage.index, f"{VERSIONS}/.trial.{name}", name) for stage in _minhashes(plan) if stage.index]
    folders = [stage.against for stage in _minhashes(plan) if stage.against and stage.against != stage.index]
    folders += [place for stage in plan.stages if isinstance(stage, Refetch) for place in stage.earlier]
    files: dict[str, int | None] = {}
    for each in plan.inputs:
        if (path := local(each.path)) is not None:
            files[str(path)] = each.bytes if each.chosen is None else None
    return Needs(
        plan.stages,
        plan.pins,
        tuple(Mark(str(path), each.path, each.content) for each in marks if (path := local(each.root)) is not None),
        tuple(files.items()),
        tuple(str(path) for each in folders if (path := local(each)) is not None),
    )


def leave_marks(needs: Needs) -> None:
    """Write the marks. Raises StoreError."""
    for mark in needs.marks:
        Store(mark.root).write_atomic(mark.path, mark.content.encode())


def remove_marks(needs: Needs) -> None:
    """Undo it. Raises StoreError."""
    for mark in needs.marks:
        Store(mark.root).remove(mark.path)


def unmet(needs: Needs, settle: float = SETTLE_SECONDS) -> str | None:
    """What this node lacks, and what to do about it, in one line; None where it lacks nothing.

    settle: seconds that shared folders may take until a mark is seen.
    """
    unseen = [mark.root for mark in needs.marks if not _reads(mark, settle)]
    unseen += [folder for folder in needs.folders if not os.path.isdir(folder)]
    unseen += [path for path, size in needs.files if not _has(path, size)]
    if unseen:
        return f"does not see {_listed(unseen)}: {REMEDY}"
    for stage in needs.stages:
        try:
            ready, _ = resolve(stage, needs.pins)
            ready.load()
        except AssetError as error:
            return f"{error}; every node needs the same models and lists"
        except (ValueError, OSError) as error:
            said = " ".join(str(error).split())
            return f"{said if said.startswith(stage.kind) else f'{stage.kind}: {said}'}; every node needs what it needs"
    return None


def _minhashes(plan: Plan) -> list[MinHash]:
    return [stage for stage in plan.stages if isinstance(stage, MinHash)]


def _reads(mark: Mark, settle: float) -> bool:
    path, deadline = Path(mark.root, mark.path), time.monotonic() + settle
    while True:
        try:
            if path.read_text(encoding="utf-8", errors="replace") == mark.content:
                return True
        except OSError:
            pass
        if not os.path.isdir(path.parent) or time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)


def _has(path: str, size: int | None) -> bool:
    try:
        found = os.stat(path).st_size
    except OSError:
        return False
    return size is None or found == size


def _listed(paths: Sequence[str]) -> str:
    more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"
