"""The served app, driven by Gradio's client and by bare HTTP: a path through each tab, and what only a server shows."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import Api, open_studio, served

from anime_ai.config import ROOT
from anime_ai.models.engine import Sampling
from anime_ai.studio import Studio
from anime_ai.texts import text
from anime_ai.training import runs
from anime_ai.ui.importing import FIELDS
from anime_ai.ui.sampling_form import SamplingForm

pytestmark = [pytest.mark.slow]
PLAIN = [False, *SamplingForm._set(Sampling(max_new_tokens=64))[1:]]
"""Without thoughts, and the knobs as they are."""
NO_PICTURE = ["", [], ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("工作室 one")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder, TEST_PACE="0.02") as found:
        yield found


@pytest.fixture(scope="module")
def studio(folder: Path, address: str) -> Iterator[Studio]:
    """A second look at the same folder, beside the served app's."""
    with open_studio(folder) as found:
        yield found


class Client:
    """Gradio's client, which calls private endpoints only when it is told that it may."""

    def __init__(self, address: str) -> None:
        from gradio_client import Client as GradioClient

        self.client = GradioClient(address, verbose=False, analytics_enabled=False)
        for endpoint in self.client.endpoints.values():
            endpoint.is_valid = True
        self.names = {
            index: (one["api_name"] or "").rstrip("_0123456789")
            for index, one in ((one["id"], one) for one in self.client.config["dependencies"])
        }

    def call(self, name: str, *values: Any, number: int = 0) -> Any:
        index = [index for index, found in self.names.items() if found == name][number]
        return self.client.predict(*values, fn_index=index)

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    found = Client(address)
    yield found
    found.close()


def test_the_chat_tab_by_gradios_client(client: Client, studio: Studio) -> None:
    assert "纪棠" in json.dumps(client.call("arrive"), ensure_ascii=False)
    talk = studio.conversations.last("owner")
    assert talk is not None
    line, *_ = client.call("send", "早上好", talk.id, "", *PLAIN, *NO_PICTURE)
    assert re.findall(r'<article class="message-row (\w+)"', line) == ["bot", "user", "bot"]
    assert "base说：早上好" in line


def test_the_dataset_tab_by_gradios_client(client: Client, studio: Studio, tmp_path: Path) -> None:
    from gradio_client import handle_file

    file = tmp_path / "三行.json"
    rows = [{"input": f"问{n}", "output": f"答{n}", "persona": "傲娇"} for n in range(3)]
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    nothing = ["1", "", "", "", "", "", "order"]
    assert "EVA" in json.dumps(client.call("arrive", [], None, *nothing, number=1), ensure_ascii=False)
    assert "问2" in json.dumps(client.call("upload", handle_file(str(file))), ensure_ascii=False)
    columns = [None] * len(FIELDS)
    shown = client.call("make", "三行", False, None, "", None, False, "傲娇", *columns)
    assert "问2" in json.dumps(shown, ensure_ascii=False)
    info = studio.datasets.find("三行")
    client.call("add", [], info.id, *nothing, "问3", "答3", "傲娇", "", "", "", "", "", False)
    assert [row.input for row in studio.datasets.rows(info.id)] == ["问0", "问1", "问2", "问3"]


def test_the_training_tab_by_gradios_client(client: Client, studio: Studio) -> None:
    from anime_ai.training.recipe import Recipe
    from anime_ai.ui.training_tab import TrainingTab

    arrived = json.dumps(client.call("arrive", None, None, number=5), ensure_ascii=False)
    assert "开始训练" in arrived
    recipe = {**Recipe().as_json(), "persona": "傲娇"}
    values = [recipe[name] for name in TrainingTab(studio).names]
    client.call("start", studio.datasets.list()[0].id, "第一次", *values)
    run = studio.runs.list()[0]
    assert (run.name, run.state) == ("第一次", "queued")
    runs.write_status(run.folder, state="running", step=5, total=60)
    runs.append_line(run.folder / runs.METRICS, {"step": 5, "loss": 3.25})
    assert "3.25" in json.dumps(client.call("tick", run.id), ensure_ascii=False)
    client.call("stop", run.id, number=2)
    assert studio.runs.get(run.id).state == "stopping"


def grows(studio: Studio, seconds: float = 3) -> bool:
    """Whether some answer still gets longer."""

    def length() -> int:
        people = [one.id for one in studio.conversations.list("owner")]
        return sum(len(said.content) for id in people for said in studio.conversations.get("owner", id).messages)

    before = length()
    time.sleep(seconds)
    return length() > before


def test_a_lost_connection_and_a_stop_end_the_generation_and_keep_the_text(address: str, studio: Studio) -> None:
    long = "一" * 2000
    for how in ("lost", "stop"):
        with Api(address) as api:
            opened = api.call(api.index("arrive"))
            assert opened["success"]
            api.join(api.index("send"), [long, None, "", *PLAIN, *NO_PICTURE])
            pieces = 0
            for message in api.messages():
                pieces += message["msg"] == "process_generating"
                if pieces == 5 and how == "stop":
                    api.join(api.index("stop"), [None])
                if pieces >= 5 and how == "lost":
                    break
        time.sleep(1.5)
        assert not grows(studio), how
        newest = studio.conversations.get("owner", studio.conversations.list("owner")[0].id).messages[-1]
        assert newest.role == "assistant"
        assert 0 < len(newest.content) < 1500
    with Api(address) as api:
        api.call(api.index("arrive"))
        assert api.call(api.index("send"), ["还在吗", None, "", *PLAIN, *NO_PICTURE])["success"], (
            "nothing is blocked afterwards"
        )


def test_a_double_submit_is_one_generation(address: str, studio: Studio) -> None:
    with Api(address) as api:
        api.call(api.index("arrive"))
        conversation = studio.conversations.list("owner")[0].id
        before = len(studio.conversations.get("owner", conversation).messages)
        for _ in range(2):
            api.join(api.index("send"), ["同一句话", None, "", *PLAIN, *NO_PICTURE])
        ends = [message for message in api.messages() if message["msg"] == "process_completed"]
    assert sorted(end["success"] for end in ends) == [False, True]
    assert "她还在回答" in json.dumps(ends, ensure_ascii=False)
    assert len(studio.conversations.get("owner", conversation).messages) == before + 2


@pytest.mark.parametrize(
    ("accept", "word", "said"),
    [
        ("en-US,en;q=0.9", "Start training", text("error.chat.blank", "en")),
        ("zh-CN", "\\u5f00\\u59cb\\u8bad\\u7ec3", text("error.chat.blank", "zh")),
    ],
)
def test_the_page_speaks_the_browsers_language_and_fetches_nothing_elsewhere(
    address: str, accept: str, word: str, said: str
) -> None:
    with Api(address, **{"accept-language": accept}) as api:
        page = api.http.get("/").text
        assert word in page
        assert "@@" not in page
        elsewhere = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)', page)
        assert elsewhere == []
        api.call(api.index("arrive"))
        refused = api.call(api.index("send"), ["  ", None, "", *PLAIN, *NO_PICTURE])
        assert said in refused["output"]["error"]


def test_an_unknown_failure_is_one_calm_line_without_its_inside(address: str, studio: Studio) -> None:
    with Api(address) as api:
        for name, values in (("look_again", [None, {"not": "text"}]), ("choose_persona", [["a"]]), ("choose_row", [])):
            answer = api.call(api.index(name), values, event_data={"row": {"x": 1}})
            assert "Traceback" not in json.dumps(answer)
            assert str(studio.settings.output_dir) not in json.dumps(answer)


def test_a_taken_port_is_said_and_the_next_one_is_used(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--output-dir", str(tmp_path / "o")]
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as child:
            assert child.stdout is not None
            first, second = child.stdout.readline(), child.stdout.readline()
            child.terminate()
            rest, wrong = child.communicate(timeout=30)
    assert f"端口 {port} 被占用" in first
    assert "http://127.0.0.1:" in second
    assert f":{port}/" not in second
    assert "再见" in rest
    assert wrong == ""
    assert child.returncode == 0


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    command = [sys.executable, str(ROOT / "app.py"), "--port", "7999", "--output-dir", str(tmp_path / "file" / "o")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_portraits_are_everybodys_and_nothing_beside_them() -> None:
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from anime_ai.persona.cards import Personas
    from anime_ai.ui.portraits import portrait_url, portraits

    page = TestClient(Starlette(routes=[portraits()]))
    for persona in Personas().list():
        for expression in ("", "smile", "angry"):
            url = portrait_url(persona.id, expression)
            assert page.get(f"/{url}").headers["content-type"] == "image/webp"
    assert portrait_url("nobody") == portrait_url("tsundere", "no such face") == ""
    for path in ("/portraits/nobody.webp", "/portraits/%2e%2e/starter/REPORT.md", "/portraits/..%2fstarter/REPORT.md"):
        assert page.get(path).status_code == 404
