"""Checks the environment: what crawlmill needs, whether it is there, and how to mend it."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

_FASTTEXT_PROVIDERS = ("fasttext", "fasttext-predict", "fasttext-numpy2-wheel", "fasttext-wheel", "fasttext-langdetect")
_SHM_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One check: whether it passed, and what was found or how to mend it."""

    check: str
    ok: bool
    said: str


def examine() -> list[Finding]:
    """All checks. Starts nothing and changes nothing."""
    return list(_checks())


def _checks() -> Iterator[Finding]:
    yield Finding("python", sys.version_info >= (3, 11), f"{sys.version.split()[0]} (3.11 or later is needed)")
    owners = packages_distributions()
    for name in ("pipeline", "stages"):
        others = sorted(set(owners.get(name, [])) - {"crawlmill"})
        said = (
            f"also claimed by {', '.join(others)}: give crawlmill an environment of its own"
            if others
            else "crawlmill's own"
        )
        yield Finding(f"import name {name}", not others, said)
    providers = sorted(set(owners.get("fasttext", [])) & set(_FASTTEXT_PROVIDERS) | set(owners.get("fasttext", [])))
    said = f"provided by {', '.join(providers) or 'nothing'}"
    if len(providers) != 1:
        said += ": exactly one may be installed; pip uninstall all of them, then pip install fasttext-predict"
    yield Finding("module fasttext", len(providers) == 1, said)
    for name in ("ray", "trafilatura", "resiliparse", "numba", "pyarrow", "pymupdf"):
        yield _imports(name)
    yield _language_model()
    yield _ocr()
    yield _shared_memory()
    yield _token()
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk", free > 5 * 2**30, f"{free / 2**30:.0f} GiB free at {Path.cwd()}")


def _imports(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return Finding(name, False, f"{error}: pip install crawlmill again")
    return Finding(name, True, str(getattr(module, "__version__", "there")))


def _language_model() -> Finding:
    from stages.language.identify import Language

    try:
        Language().load()
    except (ValueError, OSError) as error:
        return Finding("language model", False, str(error))
    return Finding("language model", True, Language().model)


def _ocr() -> Finding:
    """Only jobs that say `ocr: tesseract` need it."""
    from stages.extract.pdf.stage import ExtractPdf

    try:
        ExtractPdf(ocr="tesseract").load()
    except ValueError:
        return Finding(
            "tesseract", True, "not there, and needed for `ocr: tesseract` alone: apt-get install tesseract-ocr"
        )
    return Finding("tesseract", True, "there, with English")


def _shared_memory() -> Finding:
    """Ray keeps its objects there; containers get 64 MB unless told otherwise."""
    if not Path("/dev/shm").is_dir():
        return Finding("shared memory", True, "no /dev/shm here: Ray uses the disk")
    size = shutil.disk_usage("/dev/shm").total
    mend = "" if size >= _SHM_BYTES else ": give the container more (docker: --shm-size=2g, compose: shm_size)"
    return Finding("shared memory", size >= _SHM_BYTES, f"{size / 2**20:.0f} MiB{mend}")


def _token() -> Finding:
    """`ray start` is open to everybody where it finds no token."""
    found = "RAY_AUTH_TOKEN" in os.environ or Path("~/.ray/auth_token").expanduser().is_file()
    said = (
        "there"
        if found
        else "none yet: the first `crawlmill run` makes one; before `ray start` run `ray get-auth-token --generate`"
    )
    return Finding("ray token", True, said)
