"""The command line, called in the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.cli import main


@dataclass(frozen=True)
class Said:
    """What a command came to: its exit status, and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Said]


def calls(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the program's `main` with some words."""

    def call(*words: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["crawlmill", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *capfd.readouterr())

    return call
