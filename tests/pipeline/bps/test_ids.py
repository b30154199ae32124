"""Numbers of submissions."""

from __future__ import annotations

import shutil

import pytest

from pipeline.bps.ids import find_folder, new_id, submissions


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        (tmp_path / name).mkdir()


def test_numbers_and_paths(tmp_path):
    assert [new_id(tmp_path / name) for name in "abcb"] == ["1", "2", "3", "2"]
    assert find_folder("2") == ("2", tmp_path / "b")
    assert (
        find_folder(str(tmp_path / "c")) == find_folder("c") == find_folder("./c/") == ("3", tmp_path / "c")
    )
    (tmp_path / "d").mkdir()
    assert find_folder("d") == (str(tmp_path / "d"), tmp_path / "d")
    assert find_folder("4") is None
    assert find_folder("nowhere") is None


def test_a_number_is_not_used_again(tmp_path):
    assert new_id(tmp_path / "a") == "1"
    shutil.rmtree(tmp_path / "a")
    assert find_folder("1") is None
    assert new_id(tmp_path / "b") == "2"
    assert list(submissions()) == [("2", tmp_path / "b")]


def test_a_folder_that_is_called_like_a_number(tmp_path):
    (tmp_path / "7").mkdir()
    assert find_folder("7") is None
    assert find_folder("./7") == (str(tmp_path / "7"), tmp_path / "7")
