"""The cage: whatever a record does to its child process, the record alone pays, and the next one works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cage_stages
import pytest

from pipeline import cage
from pipeline.cage import Cage, CageError, Failure
from stages.stage import Extracted, Refusal

TESTS = Path(cage_stages.__file__).parent
MEGABYTES = 256


@pytest.fixture(scope="module")
def caged() -> Iterator[Cage]:
    one = Cage(cage_stages.Misbehave(cpu_seconds=1, memory_mb=MEGABYTES))
    yield one
    one.close()


def do(caged: Cage, deed: str) -> str | Refusal | Failure:
    answer = caged.process(deed.encode(), {"media": "html"})
    return answer.text if isinstance(answer, Extracted) else answer


TOO_BIG = Failure("over_memory_limit", MEGABYTES * 2**20, MEGABYTES * 2**20)


@pytest.mark.parametrize(
    ("deed", "answer"),
    [
        ("say Grüße", "Grüße"),
        ("say ", ""),
        ("refuse me", Refusal("me", 1.0, 2.0, "with a \ufffd surrogate")),
        ("surrogates", "a\ufffdb😀\0c"),
        (f"repeat {2**23}", "ü" * 2**23),
        (f"repeat {2**28}", TOO_BIG),
        ("lists", TOO_BIG),
        ("array", TOO_BIG),
        ("malloc", Failure("crashed", detail="SIGSEGV")),
        ("segfault", Failure("crashed", detail="SIGSEGV")),
        ("exit 3", Failure("crashed", detail="exit status 3")),
        ("kill", Failure("over_memory_limit", MEGABYTES * 2**20, MEGABYTES * 2**20, "killed by the system")),
        ("raise " + "x" * 999, Failure("extraction_error", detail="LookupError: " + "x" * 187)),
        ("print noise", "printed"),
        ("sleep 0.1", "slept"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) and value else "",
)
def test_a_record_gets_its_answer_or_its_failure_and_the_next_one_works(
    caged: Cage, deed: str, answer: str | Refusal | Failure, capfd: pytest.CaptureFixture[str]
) -> None:
    got = do(caged, deed)
    if isinstance(got, str) and len(got) > 1000:
        assert got == answer  # without pytest's difference of two long texts
        return
    assert got == answer
    assert do(caged, "say next") == "next"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("deed", "error"), [("nothing", "TypeError"), ("recurse", "RecursionError"), ("no_such", "Attr")]
)
def test_an_error_is_the_answer_and_the_child_goes_on(caged: Cage, deed: str, error: str) -> None:
    child = do(caged, "pid")
    failure = do(caged, deed)
    assert isinstance(failure, Failure)
    assert failure.reason == "extraction_error"
    assert str(failure.detail).startswith(error)
    assert do(caged, "pid") == child


def test_a_child_lives_until_a_record_kills_it(caged: Cage) -> None:
    first = do(caged, "pid")
    assert do(caged, "pid") == first
    do(caged, "exit 1")
    assert do(caged, "pid") != first


def test_a_record_that_kills_its_child_once_only_is_forgiven(caged: Cage, tmp_path: Path) -> None:
    assert do(caged, f"once {tmp_path / 'state'}") == "the second time"


def test_an_idle_child_that_was_killed_from_outside_costs_no_record(caged: Cage) -> None:
    os.kill(int(str(do(caged, "pid"))), signal.SIGKILL)
    assert do(caged, "say next") == "next"


def test_a_child_that_neither_answers_nor_works_is_killed(caged: Cage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cage_stages.Misbehave, "silence_seconds", 0.5)
    monkeypatch.setattr(cage, "_LOOK_SECONDS", 0.1)
    do(caged, "say started")
    assert do(caged, "sleep 3600") == Failure("hung", 0.5, 0.5)
    monkeypatch.undo()
    assert do(caged, "say next") == "next"


def test_a_part_of_a_record_that_hangs_ends_at_the_limit_of_the_part() -> None:
    caged = Cage(cage_stages.Misbehave(cpu_seconds=60, memory_mb=MEGABYTES))
    answer = do(caged, "pages 1")
    assert isinstance(answer, Failure) and answer.reason == "over_cpu_limit"
    assert caged.seconds < 10


def test_a_record_whose_time_is_spent_begins_nothing_more() -> None:
    caged = Cage(cage_stages.Misbehave(cpu_seconds=60, memory_mb=MEGABYTES))
    answer = do(caged, "spent")
    assert isinstance(answer, Failure) and answer.reason == "over_cpu_limit"


def test_an_endless_loop_ends_at_the_limit_twice_and_its_processor_time_is_counted() -> None:
    caged = Cage(cage_stages.Misbehave(cpu_seconds=1, memory_mb=MEGABYTES))
    assert caged.seconds == 0
    assert do(caged, "loop") == Failure("over_cpu_limit", 1, 1)
    killed = caged.seconds
    assert killed >= 2
    do(caged, "say next")
    caged.close()
    assert caged.seconds > killed


def test_a_child_that_cannot_start_is_no_record_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cage_stages.py").write_text("raise SystemExit(7)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CageError, match=r"misbehave: its child process does not start \(exit status 7\)"):
        do(Cage(cage_stages.Misbehave()), "say x")


PARENT = """
import cage_stages
from pipeline.cage import Cage
caged = Cage(cage_stages.Misbehave(cpu_seconds=600))
print(caged.process(b"pid", {}).text, flush=True)
if DEED:
    caged.process(DEED, {})
else:
    input()
"""


@pytest.mark.parametrize("deed", [b"", b"sleep 3600", b"loop"], ids=["idle", "asleep", "busy"])
def test_a_child_dies_with_its_parent(deed: bytes) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    code = PARENT.replace("DEED", repr(deed))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as parent:
        assert parent.stdout is not None
        said = parent.stdout.readline()
        parent.kill()  # before anything here can fail: `with` waits for it
        parent.wait()
        child = int(said)
        assert _gone(child, within=60)


def _gone(pid: int, within: float) -> bool:
    """Whether a process, not a child of ours, ends in time; one that nobody has buried yet has ended."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            state = re.sub(r".*\) ", "", Path(f"/proc/{pid}/stat").read_text())[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
