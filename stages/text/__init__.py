"""Words, lines and what is measured of them: a text is split once, and every rule reads the same arrays.

The inner loops are compiled by numba, which caches what it compiled but looks for changes only in the file that a
function stands in, not in those it calls. So the cache has a folder for each state of the sources that compile or are
compiled in, here and in the families named below, whose modules all import this package first: no compiled code
outlives them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from numba.core import config

COMPILED = ("text", "filter", "dedup")
"""Families of stages with compiled loops."""


def _cache_folder() -> str:
    stages = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for source in sorted(path for family in COMPILED for path in (stages / family).glob("*.py")):
        digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "crawlmill", "numba", digest.hexdigest()[:16])


if "NUMBA_CACHE_DIR" not in os.environ:
    config.CACHE_DIR = _cache_folder()  # type: ignore[attr-defined]  # made by numba when it reads its environment
