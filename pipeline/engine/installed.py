"""What is installed here: crawlmill's own code and the packages it counts on; and how that differs from elsewhere.

The functions of this module travel to other nodes by value (`pipeline.engine.ray`), since another crawlmill may be
installed there, or none. So it imports the standard library alone, and what it gives back are plain dicts and strings.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOTS = ("pipeline", "stages")
_KINDS = (".py", ".yaml", ".txt", ".csv")
"""Of files that decide what happens to a record."""
REMEDY = "install the same version (one image for all nodes)"
_SHOWN = 3
_found: dict[str, Any] = {}
"""By `errand`, once a process. Empty where it is sent from: what travels by value takes this along."""


def installed() -> dict[str, Any]:
    """What is here: `files` (sha256 by name), `versions` (by package), and `fault` where they cannot be loaded."""
    versions, fault = _versions()
    return {"files": _files(), "versions": versions, "fault": fault}


def _files() -> dict[str, str]:
    found = {}
    for root in _ROOTS:
        spec = importlib.util.find_spec(root)
        for folder in map(Path, (spec.submodule_search_locations or ()) if spec is not None else ()):
            for path in folder.rglob("*"):
                if path.suffix in _KINDS and path.is_file():
                    found[f"{root}/{path.relative_to(folder).as_posix()}"] = hashlib.sha256(
                        path.read_bytes()
                    ).hexdigest()
    return found


def _versions() -> tuple[dict[str, str], str | None]:
    try:
        versions = importlib.import_module("pipeline.plan").versions()
    except Exception as error:  # what is wrong with an installation may show as anything; it is told to the driver
        return {}, " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return versions, None


def digest(what: Mapping[str, Any]) -> str:
    """Of what `installed` found: equal where nothing differs."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """How an installation differs from this one, and what to do about it, in one line; None where it does not."""
    if not there["files"]:
        return f"crawlmill is not installed there: {REMEDY}"
    if there["fault"] is not None:
        return f"crawlmill does not load there ({there['fault']}): {REMEDY}"
    names = sorted({*there["versions"], *here["versions"]}, key=lambda name: (name != "crawlmill", name))
    said = [
        f"{name} {there['versions'].get(name, 'missing')} there, {here['versions'].get(name, 'missing')} here"
        for name in names
        if there["versions"].get(name) != here["versions"].get(name)
    ]
    files = sorted(
        name for name in {*there["files"], *here["files"]} if there["files"].get(name) != here["files"].get(name)
    )
    if files and "crawlmill" not in (said or [""])[0]:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        said.insert(0, f"other code of crawlmill there ({files[0]}{more})")
    more = f" (and {len(said) - _SHOWN} more)" if len(said) > _SHOWN else ""
    return f"{'; '.join(said[:_SHOWN])}{more}: {REMEDY}" if said else None


def errand(expected: str | None, load: bytes, *arguments: Any) -> tuple[bool, Any]:
    """What a worker of the cluster is sent: (True, what the pickled function in `load` makes of the arguments).

    Where `expected` is given and this installation has another digest, nothing of `load` is touched: (False, what is
    installed here).
    """
    if expected is not None:
        _found.update(_found or installed())
        if digest(_found) != expected:
            return False, _found
    return True, pickle.loads(load)(*arguments)
