"""Files and folders that are replaced at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anime_ai import files
from anime_ai.errors import StorageError

DIE_BETWEEN = """
import os, signal, sys
from pathlib import Path
from anime_ai import files
replace = files._replace
def once(source, target):
    replace(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
files._replace = once
with files.replaced_folder(Path(sys.argv[1])) as folder:
    (folder / "content").write_text("new", encoding="utf-8")
"""


def _die_inside(target: Path) -> None:
    with files.replaced_folder(target) as folder:
        (folder / "content").write_text("half", encoding="utf-8")
        raise RuntimeError


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "final_model"
    with files.replaced_folder(target) as folder:
        (folder / "content").write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError):
        _die_inside(target)
    assert (target / "content").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["final_model"]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_what_died_between_the_two_renames_is_put_back(tmp_path: Path) -> None:
    target = tmp_path / "final_model"
    target.mkdir()
    (target / "content").write_text("old", encoding="utf-8")
    died = subprocess.run([sys.executable, "-c", DIE_BETWEEN, str(target)], cwd=Path(files.__file__).parents[1])
    assert died.returncode == -signal.SIGKILL
    assert not target.exists()
    files.restore_folder(target)
    assert (target / "content").read_text(encoding="utf-8") == "old"
    files.restore_folder(target)
    with files.replaced_folder(target) as folder:
        (folder / "content").write_text("newer", encoding="utf-8")
    assert (target / "content").read_text(encoding="utf-8") == "newer"


def test_json_that_is_missing_or_half_is_none(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"名": [1]})
    assert files.read_json(tmp_path / "a.json") == {"名": [1]}
    (tmp_path / "a.json").write_text('{"名": [1', encoding="utf-8")
    assert files.read_json(tmp_path / "a.json") is None
    assert files.read_json(tmp_path / "none.json") is None


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        files.check_writable(tmp_path / "file" / "below")
    assert str(tmp_path / "file") in caught.value.say("en")


def test_a_file_that_lies_there_for_long_is_parsed_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    read = files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: (parsed.append(path), read(path))[1])
    file = tmp_path / "card.json"
    assert files.read_json_again(file) is None
    file.write_text('{"a": 1}', encoding="utf-8")
    os.utime(file, (1e9, 1e9))
    assert [files.read_json_again(file) for _ in range(3)] == [{"a": 1}] * 3
    assert len(parsed) == 1
    files.write_json(file, {"a": 2})
    os.utime(file, (1e9, 1e9))  # a copy may bring its time along
    assert files.read_json_again(file) == {"a": 2}
    file.write_text('{"a":  3}\n', encoding="utf-8")  # as long as before, in place, just now
    assert files.read_json_again(file) == {"a": 3}
    file.write_text('{"a":  4}\n', encoding="utf-8")
    assert files.read_json_again(file) == {"a": 4}, "in the same moment, as far as the file system tells"
    file.write_text('{"a":', encoding="utf-8")
    assert files.read_json_again(file) is None
    file.unlink()
    assert files.read_json_again(file) is None


def test_of_files_that_are_read_again_only_so_many_are_kept(tmp_path: Path) -> None:
    most = files._settled.cache_info().maxsize
    assert most is not None
    for number in range(most + 10):
        file = tmp_path / f"{number}.json"
        file.write_text("[]", encoding="utf-8")
        os.utime(file, (1e9, 1e9))
        assert files.read_json_again(file) == []
    assert files._settled.cache_info().currsize == most
