"""The whole studio out and in; its state in a private repository; a Space of a character in a Space's surroundings."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from writable_hub import TOKEN, WritableHub, writable_hub

from anime_ai.chat.service import SHIPPED
from anime_ai.config import OWNER, Settings
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, PublishError
from anime_ai.models.adapters import read_card
from anime_ai.models.bases import STARTER, find_base
from anime_ai.publishing import whole
from anime_ai.publishing.hub import HubAccount
from anime_ai.publishing.spaces import make_space
from anime_ai.publishing.state import FILE, StateKeeping, fetch_state
from anime_ai.publishing.trained import Trained, front_matter
from anime_ai.studio import Studio
from anime_ai.training import checkpoints, runs


def settings_of(folder: Path, **more: Any) -> Settings:
    return Settings.load(output_dir=folder / "输出 folder", model_name="starter", **more)


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (80, 80), "#d6457a").save(made, "PNG")
    return made.getvalue()


def fill(studio: Studio) -> None:
    """Something of everything."""
    studio.datasets.create("我的对话", [Row("你好", "哼。", "傲娇")])
    studio.personas.publish(studio.personas.create("海棠").id, True)
    studio.personas.set_picture(studio.personas.find("海棠").id, picture())
    base_id = studio.knowledge.library.create("花店")
    studio.knowledge.paste(base_id, "店", "# 店\n\n花店的名字叫“半朵”。")
    studio.vision.enrol(OWNER, "海棠", [picture()])
    talk = studio.conversations.start(OWNER, "海棠")
    studio.conversations.append(OWNER, talk.id, "user", "在吗")
    run = studio.settings.runs_dir / ("ab" * 16)
    (run / "final_model").mkdir(parents=True)
    for file in (SHIPPED / "kuudere").iterdir():
        (run / "final_model" / file.name).write_bytes(file.read_bytes())
    (run / "config.json").write_text(json.dumps({"id": run.name, "name": "她", "recipe": {"persona": "三无"}}))
    (run / "status.json").write_text(json.dumps({"state": "finished", "checkpoint": 6}))
    checkpoint = run / "checkpoints" / "checkpoint-6"
    checkpoint.mkdir(parents=True)
    for name in checkpoints.ADAPTER:
        (checkpoint / name).write_bytes((SHIPPED / "kuudere" / name).read_bytes())
    (checkpoint / "optimizer.pt").write_bytes(b"\x80\x04 never unpickled")
    (checkpoint / "whole.json").write_text(json.dumps({"step": 6, "files": {"optimizer.pt": 3}, "resumable": True}))


def state_of(studio: Studio) -> dict[str, Any]:
    library, album = studio.knowledge.library, studio.vision.album
    talks = studio.conversations.list(OWNER)
    return {
        "rows": {one.name: [row.as_json() for row in studio.datasets.rows(one.id)] for one in studio.datasets.list()},
        "personas": [(one.name, one.published) for one in studio.personas.list()],
        "picture": studio.personas.export(studio.personas.find("海棠").id, "png"),
        "texts": {base.name: [library.text(one.id) for one in library.documents(base.id)] for base in library.bases()},
        "gallery": [(one.name, one.pictures) for one in album.characters(OWNER)],
        "files": sorted(path.read_bytes() for _, path in album.known_by(OWNER).values()),
        "talks": [[m.content for m in studio.conversations.get(OWNER, one.id).messages] for one in talks],
        "runs": [(run.id, run.state, run.checkpoint) for run in studio.runs.list()],
    }


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Studio]:
    with Studio.open(settings_of(tmp_path / "one")) as studio:
        fill(studio)
        yield studio


# Out and in


def test_everything_comes_back_on_another_machine(filled: Studio, tmp_path: Path) -> None:
    secret = filled.settings.studio_dir / "secret.key"
    secret.write_text("f" * 64)
    file = whole.save(filled.settings, tmp_path / "whole.zip")
    before = state_of(filled)
    with zipfile.ZipFile(file) as zipped:
        names = zipped.namelist()
        content = b"".join(zipped.read(name) for name in names)
    assert not [name for name in names if name.endswith((".pt", ".key", ".gguf", ".small.webp")) or "vectors" in name]
    assert b"f" * 64 not in content
    other = settings_of(tmp_path / "two")
    done = whole.restore(file, other)
    assert done.runs == 1
    with Studio.open(other) as studio:
        assert state_of(studio) == before
        (base,) = [one for one in studio.knowledge.library.bases() if one.name == "花店"]
        assert "半朵" in studio.knowledge.search("花店的名字", [base.id])[0].text
        run = studio.runs.get("ab" * 16)
        assert [one.step for one in checkpoints.of_run(run.folder)] == [6]
        assert runs.last_checkpoint(run.folder) is None, "without an optimiser nobody goes on from it"
        assert studio.chat.choice(f"run:{run.id}").path is not None
    assert not list(tmp_path.rglob("*.partial"))


def test_a_studio_that_is_there_is_not_overwritten(filled: Studio, tmp_path: Path) -> None:
    file = whole.save(filled.settings, tmp_path / "whole.zip")
    before = state_of(filled)
    with pytest.raises(PublishError) as refused:
        whole.restore(file, filled.settings)
    assert refused.value.key == "publishing.occupied"
    assert state_of(filled) == before


def test_what_is_saved_is_one_state_while_somebody_writes(filled: Studio, tmp_path: Path) -> None:
    with closing(sqlite3.connect(filled.settings.studio_dir / "studio.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM datasets")
        file = whole.save(filled.settings, tmp_path / "whole.zip")
        writer.execute("ROLLBACK")
    whole.restore(file, settings_of(tmp_path / "two"))
    with Studio.open(settings_of(tmp_path / "two")) as studio:
        assert state_of(studio) == state_of(filled)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("../../evil", b"x"),
        ("secret.key", b"0" * 64),
        (f"runs/{'ab' * 16}/final_model/../../../x.json", b"{}"),
        (f"runs/{'ab' * 16}/checkpoints/checkpoint-6/optimizer.pt", b"\x80\x04"),
        ("vectors/chroma.sqlite3", b"SQLite format 3\0"),
        ("studio.db", b"no database"),
    ],
)
def test_a_file_that_is_none_of_ours_restores_nothing(
    filled: Studio, tmp_path: Path, name: str, content: bytes
) -> None:
    import hashlib

    file, bad = whole.save(filled.settings, tmp_path / "whole.zip"), tmp_path / "bad.zip"
    with zipfile.ZipFile(file) as zipped, zipfile.ZipFile(bad, "w") as to:
        told = json.loads(zipped.read("studio.json"))
        for one in zipped.namelist():
            if one not in ("studio.json", name):
                to.writestr(one, zipped.read(one))
        to.writestr(name, content)
        told["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        to.writestr("studio.json", json.dumps(told))
    other = settings_of(tmp_path / "two")
    with pytest.raises(AnimeAIError):
        whole.restore(bad, other)
    assert not (other.studio_dir / "studio.db").exists()
    assert not (tmp_path / "evil").exists()
    assert not list(tmp_path.rglob("*.partial"))


# The state in a repository


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[WritableHub]:
    with writable_hub() as found:
        # Both follow from HF_ENDPOINT where that is set before the library is imported.
        address = f"{found.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def test_the_state_goes_to_a_private_repository_and_comes_back(
    filled: Studio, hub: WritableHub, tmp_path: Path
) -> None:
    settings = filled.settings.model_copy(update={"state_repo": "my-studio"})
    keeping = StateKeeping(settings)
    assert keeping.keep()
    assert not keeping.keep(), "nothing has changed"
    filled.personas.create("新来的")
    assert keeping.keep()
    repo = hub.repo("dataset", "haitang/my-studio")
    assert repo.private
    assert repo.commits == 1, "history is squashed"
    assert set(repo.files) == {FILE}
    fresh = settings_of(tmp_path / "space", state_repo="my-studio", state_minutes=600)
    with Studio.open(fresh) as studio:
        assert state_of(studio) == state_of(filled)
        assert "新来的" in [one.name for one in studio.personas.list()]
        studio.personas.create("更新来的")
    assert repo.commits == 1
    again = settings_of(tmp_path / "again", state_repo="haitang/my-studio")
    assert fetch_state(again)
    with Studio.open(again.model_copy(update={"state_repo": ""})) as studio:
        assert "更新来的" in [one.name for one in studio.personas.list()], "the last push is at the app's end"


def test_a_repository_that_others_can_read_gets_nothing(filled: Studio, hub: WritableHub) -> None:
    hub.public = True
    keeping = StateKeeping(filled.settings.model_copy(update={"state_repo": "my-studio"}))
    with pytest.raises(PublishError) as refused:
        keeping.keep()
    assert refused.value.key == "publishing.not_private"
    assert hub.repo("dataset", "haitang/my-studio").files == {}
    assert hub.objects == {}


def test_a_hub_that_does_not_answer_keeps_the_studio_shut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    settings = settings_of(tmp_path, state_repo="haitang/my-studio")
    with pytest.raises(PublishError):
        fetch_state(settings, lambda: HubAccount(TOKEN, "http://127.0.0.1:9"))
    assert not (settings.studio_dir / "studio.db").exists(), "an empty studio would soon replace what is there"


# A Space


def space_of(studio: Studio, folder: Path) -> Path:
    persona = studio.personas.find("三无")
    trained = Trained(SHIPPED / "kuudere", find_base(STARTER, studio.settings), read_card(SHIPPED / "kuudere"))
    bundle = studio.bundles.pack(persona, folder / "her.persona.zip", trained)
    make_space(persona, bundle, STARTER, folder / "space")
    return folder / "space"


def test_a_space_is_whole_and_names_what_it_needs(filled: Studio, tmp_path: Path) -> None:
    space = space_of(filled, tmp_path)
    matter = front_matter(space / "README.md")
    assert (matter["sdk"], matter["app_file"]) == ("gradio", "app.py")
    assert matter["hf_oauth"] == "true", "its author becomes the owner by logging in"
    assert all((space / name).is_file() for name in ("app.py", "requirements.txt", "persona.zip", "studio_app.py"))
    assert not list(space.rglob("__pycache__"))
    assert max(file.stat().st_size for file in space.rglob("*") if file.is_file()) < 10 * 10**6
    for base in ("a folder/of/mine", '"; import os', "/etc"):
        with pytest.raises(PublishError):
            make_space(filled.personas.find("三无"), tmp_path / "her.persona.zip", base, tmp_path / "other")


@pytest.mark.slow
def test_the_app_of_a_space_starts_with_her_and_comes_back_after_it_forgot(
    filled: Studio, hub: WritableHub, tmp_path: Path
) -> None:
    space = space_of(filled, tmp_path)
    surroundings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANIME_AI_")},
        "SPACE_ID": "haitang/rin",
        "SPACE_HOST": "haitang-rin.hf.space",
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": TOKEN,
        "ANIME_AI_STATE_REPO": "rin-state",
        "HOME": str(tmp_path),
    }
    script = (
        "import runpy, sys; sys.argv = ['app.py', '--help']\n"
        "try:\n    runpy.run_path('app.py', run_name='__main__')\nexcept SystemExit as end:\n    assert not end.code\n"
        "from anime_ai.studio import Studio\n"
        "from anime_ai.config import ROOT\n"
        "with Studio.open() as studio:\n"
        "    names = [one.name for one in studio.personas.list('visitor')]\n"
        "    print(ROOT); print(studio.settings.persona); print(names)\n"
        "    print(studio.chat.adapters(studio.settings.persona)[0].id[:4])\n"
    )
    seen = []
    for number in range(2):
        there = {**surroundings, "ANIME_AI_OUTPUT_DIR": str(tmp_path / f"disk-{number}")}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], cwd=space, env=there, capture_output=True, timeout=240
        )
        assert done.returncode == 0, done.stderr.decode()
        lines = done.stdout.decode().splitlines()[-4:]
        assert lines[0] == str(space.resolve()), "the Space runs its own copy"
        assert lines[1] in lines[2]
        assert lines[3] == "run:"
        seen.append(lines)
    assert seen[0] == seen[1], "the second start has the first one's persona, once"
    assert hub.repo("dataset", "haitang/rin-state").private
    assert TOKEN not in str(seen)
