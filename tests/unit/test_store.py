"""Creating a file where there is none: of all who try, one succeeds, or nobody is told that he did."""

from __future__ import annotations

import errno
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pipeline.faults import StoreError
from pipeline.store import Store

CREATORS, NAMES = 4, 50


def test_the_second_creator_changes_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert (store.read_bytes("a/b"), store.list(), store.partials()) == (b"first", ["a/b"], [])


def test_a_folder_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert not Store(str(tmp_path)).create("a", b"1")
    assert Store(str(tmp_path)).partials() == []


@pytest.mark.parametrize("path", ["", "..", "/a", "a//b"])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="relative path"):
        Store(str(tmp_path)).create(path, b"1")


def create_all(root: str, creator: int, together: Barrier) -> list[int]:
    """Of the names, those that this process created; all processes try each at the same moment."""
    store, created = Store(root), []
    for name in range(NAMES):
        together.wait(60)
        if store.create(f"names/{name}", b"%d" % creator * 10_000):
            created.append(name)
    return created


def test_of_processes_that_create_at_once_one_succeeds(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Manager() as manager:
        together = manager.Barrier(CREATORS)
        with multiprocessing.get_context("spawn").Pool(CREATORS) as pool:
            made = pool.starmap(create_all, [(str(tmp_path), n, together) for n in range(CREATORS)], chunksize=1)
    assert sorted(name for names in made for name in names) == list(range(NAMES))
    store = Store(str(tmp_path))
    for creator, names in enumerate(made):
        assert all(store.read_bytes(f"names/{name}") == b"%d" % creator * 10_000 for name in names)
    assert store.partials() == []


def test_a_link_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS: the server made the link, the client asked again and heard that it exists."""
    link = os.link

    def made_twice(source: str, target: str) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", made_twice)
    store = Store(str(tmp_path))
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    assert (store.read_bytes("a"), store.partials()) == (b"1", [])


@pytest.mark.parametrize(
    "code, complaint", [(errno.EPERM, "no hard links"), (errno.EOPNOTSUPP, "no hard links"), (errno.ENOSPC, "space")]
)
def test_a_disk_that_cannot_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, complaint: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match=f"^{tmp_path}/a: .*{complaint}"):
        Store(str(tmp_path)).create("a", b"1")
    assert list(tmp_path.iterdir()) == []


def test_storage_that_looks_first_and_writes_then_is_refused() -> None:
    store = Store("memory://create")
    with pytest.raises(StoreError, match=r"^memory://create/a: .*cannot create a file exclusively"):
        store.create("a", b"1")
    assert store.list() == []
