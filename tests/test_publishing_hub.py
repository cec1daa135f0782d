"""Pushing to a hub on loopback with the Hub's own client: repositories, progress, privacy, refusals, no token told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from writable_hub import TOKEN, WritableHub, writable_hub

from anime_ai.errors import PublishError
from anime_ai.publishing.hub import HubAccount, Repository


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    with writable_hub() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "发布 out"
    (made / "sub").mkdir(parents=True)
    (made / "README.md").write_text("---\nlicense: mit\n---\n# 凛\n", encoding="utf-8")
    (made / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 2000)
    (made / "sub" / "more.json").write_text("{}")
    return made


def account(hub: WritableHub, token: str = TOKEN) -> HubAccount:
    return HubAccount(token, hub.endpoint)


def test_a_folder_arrives_whole_with_progress(hub: WritableHub, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    sent = account(hub).push(folder, Repository("rin-lora"), lambda *now: told.append(now))
    repo = hub.repo("model", "haitang/rin-lora")
    assert repo.private
    assert repo.files == {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }
    assert any(path.endswith("/info/lfs/objects/batch") for _, path in hub.asked), "weights go as a large file"
    assert sent.repository == "haitang/rin-lora"
    assert sent.address == f"{hub.endpoint}/haitang/rin-lora"
    assert told == sorted(told)
    assert told[-1] == (sent.bytes, sent.bytes)
    assert len(told) > 3


def test_again_into_the_same_repository_keeps_what_else_is_there(hub: WritableHub, folder: Path) -> None:
    account(hub).push(folder, Repository("haitang/rin", private=False))
    hub.repo("model", "haitang/rin").files["theirs.txt"] = b"theirs"
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# two\n")
    account(hub).push(folder, Repository("haitang/rin", private=False))
    repo = hub.repo("model", "haitang/rin")
    assert repo.commits == 2
    assert not repo.private
    assert repo.files["theirs.txt"] == b"theirs"
    assert repo.files["README.md"].endswith(b"# two\n")


@pytest.mark.parametrize(("kind", "prefix"), [("dataset", "datasets/"), ("space", "spaces/")])
def test_datasets_and_spaces(hub: WritableHub, folder: Path, kind: str, prefix: str) -> None:
    sent = account(hub).push(folder, Repository("rin", kind))  # type: ignore[arg-type]
    assert sent.address == f"{hub.endpoint}/{prefix}haitang/rin"
    assert hub.repo(kind, "haitang/rin").sdk == ("gradio" if kind == "space" else "")


def test_nothing_is_sent_to_where_others_can_read_it(hub: WritableHub, folder: Path) -> None:
    hub.public = True
    with pytest.raises(PublishError) as refused:
        account(hub).push(folder, Repository("state", "dataset"), must_be_private=True)
    assert refused.value.key == "publishing.not_private"
    assert hub.repo("dataset", "haitang/state").files == {}
    assert hub.objects == {}


@pytest.mark.parametrize(
    ("token", "name", "key"),
    [
        ("hf_wrongWrongWrongWrongWrongWrongWrong", "rin", "publishing.bad_token"),
        (TOKEN, "somebody/rin", "publishing.no_right"),
        (TOKEN, "a/b/c", "publishing.repository"),
        (TOKEN, "../etc", "publishing.repository"),
        (TOKEN, "", "publishing.repository"),
    ],
)
def test_refusals_are_said_without_the_token(
    hub: WritableHub, folder: Path, token: str, name: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PublishError) as refused:
        account(hub, token).push(folder, Repository(name))
    assert refused.value.key == key
    assert token not in str(refused.value)
    assert token not in caplog.text
    assert token not in repr(account(hub, token))
    assert not any(one for repos in hub.repos.values() for one in repos.values() if one.files)


def test_an_upload_that_is_refused_or_never_answered_leaves_no_commit(
    hub: WritableHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refuses = [400]
    with pytest.raises(PublishError) as refused:
        account(hub).push(folder, Repository("rin"))
    assert refused.value.key == "publishing.silent"
    assert hub.repo("model", "haitang/rin").commits == 0
    with pytest.raises(PublishError) as silent:
        HubAccount(TOKEN, "http://127.0.0.1:9").push(folder, Repository("rin"))
    assert silent.value.key == "publishing.silent"


def test_a_push_that_is_stopped_ends_and_commits_nothing(hub: WritableHub, folder: Path) -> None:
    stop = threading.Event()

    def tell(done: int, total: int) -> None:
        if done:
            stop.set()

    with pytest.raises(PublishError) as stopped:
        account(hub).push(folder, Repository("rin"), tell, stop)
    assert stopped.value.key == "publishing.stopped"
    assert hub.repo("model", "haitang/rin").commits == 0


def test_without_a_token_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(PublishError) as refused:
        HubAccount("")
    assert refused.value.key == "publishing.no_token"


def test_a_file_comes_back_and_history_is_one_commit(hub: WritableHub, folder: Path, tmp_path: Path) -> None:
    there = account(hub)
    there.push(folder, Repository("state", "dataset"), must_be_private=True)
    there.push(folder, Repository("state", "dataset"), must_be_private=True)
    there.squash("haitang/state", "dataset")
    assert hub.repo("dataset", "haitang/state").commits == 1
    found = there.fetch("haitang/state", "dataset", "sub/more.json", tmp_path / "back")
    assert found is not None
    assert found.read_text() == "{}"
    assert there.fetch("haitang/state", "dataset", "nothing.zip", tmp_path / "back") is None
    assert there.fetch("haitang/nobody", "dataset", "studio.zip", tmp_path / "back") is None
