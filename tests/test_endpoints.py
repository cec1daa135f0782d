"""Every endpoint of the real app, called as a visitor and as another one: by index, name, /run, /call and the queue.

Generated from /config: an endpoint that is added is tested, and one without a role fails. The matrix of all of them:

pytest -m slow -s tests/test_endpoints.py
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image
from ui_fakes import Api, built, open_studio, served

from anime_ai.models.engine import Sampling
from anime_ai.studio import Studio
from anime_ai.texts import text
from anime_ai.ui.sampling_form import SamplingForm
from anime_ai.vision.observation import Observation, Tag

VISITORS = {
    *("arrive", "choose_persona", "choose_adapter", "look_again", "send", "stop", "clear", "leave"),
    *("compare", "stop_comparing", "act_on_message", "act_on_talk", "find_talk", "branch"),
    *(
        "choose_think",
        "choose_preset",
        "keep_knobs",
        "choose_whose",
        "offer_sides",
        "pick_left",
        "pick_right",
        "count_tokens",
    ),
    *("attach", "detach"),
    *("offer_group", "start_group", "choose_members", "choose_order", "dress_members", "let_speak"),
    *(
        "look_at_memory",
        "notice_facts",
        "wait_for_facts",
        "act_on_fact",
        "add_fact",
        "choose_way",
        "keep_summary",
        "forget_everything",
    ),
    *("choose_knowledge", "choose_base", "choose", "search", "try_out", "offer_personas"),
}
"""What a visitor may call. Whoever adds to this list has thought about what a stranger does with it."""

COUNTED = {
    *("choose_persona", "choose_knowledge", "choose_think", "clear", "branch", "act_on_message", "act_on_talk"),
    *("start_group", "choose_members", "choose_order", "dress_members", "keep_knobs", "choose_preset"),
    *("act_on_fact", "add_fact", "choose_way", "keep_summary", "forget_everything", "pick_left", "pick_right"),
}
"""Those of them that keep something without asking for an answer: so many an hour are let through."""

SECRET = "我的秘密是海棠树下的信"
pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder, OWNER_PASSWORD="开门") as found:
        yield found


@pytest.fixture(scope="module")
def studio(folder: Path, address: str) -> Iterator[Studio]:
    """A second look at the same database, beside the served app's."""
    with open_studio(folder) as found:
        yield found


@pytest.fixture
def visitor(address: str) -> Iterator[Api]:
    with Api(address) as api:
        yield api


@pytest.fixture
def stranger(address: str) -> Iterator[Api]:
    with Api(address) as api:
        yield api


def state_of(studio: Studio) -> str:
    """Everything that an owner's endpoint could change, as text."""
    infos = studio.datasets.list()
    rows = [[str(row) for row in studio.datasets.rows(info.id)] for info in infos]
    files = sorted(str(path) for path in studio.settings.output_dir.rglob("*.json"))
    runs = [run.id for run in studio.runs.list()]
    known = [str(one) for one in (*studio.personas.list(), *studio.personas.removed(), *studio.worlds.list())]
    return json.dumps([[str(info) for info in infos], rows, runs, known, files])


@pytest.fixture(scope="module")
def found(studio: Studio) -> dict[int, Any]:
    """Every endpoint's function by its index."""
    return {index: block.fn for index, block in built(studio).fns.items()}


class Matrix:
    """What happened to each endpoint, by its index and by the way in which it was called."""

    def __init__(self) -> None:
        self.named: dict[int, tuple[str, str]] = {}
        self.seen: dict[int, dict[str, str]] = {}

    def put(self, index: int, **seen: str) -> None:
        self.seen.setdefault(index, {}).update(seen)

    def table(self) -> str:
        ways = list(dict.fromkeys(way for seen in self.seen.values() for way in seen))
        rows = [("", "endpoint", "role", *ways)]
        rows += [
            (str(index), *self.named.get(index, ("", "")), *(seen.get(way, "") for way in ways))
            for index, seen in sorted(self.seen.items())
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    made = Matrix()
    yield made
    print(f"\n{made.table()}")


def test_every_endpoint_declares_its_role_and_only_the_listed_ones_are_for_visitors(
    found: Any, visitor: Api, matrix: Matrix
) -> None:
    assert {one["id"] for one in visitor.config["dependencies"]} == set(found)
    for one in visitor.config["dependencies"]:
        name, call = one["api_name"], found[one["id"]]
        assert getattr(call, "role", None) in ("owner", "visitor"), f"{name} declares no role"
        assert one["api_visibility"] == "private", f"{name} is public"
        assert call.role == "owner" or call.__name__ in VISITORS, f"{name} lets visitors in"
        assert call.role == "owner" or call.writes == (call.__name__ in COUNTED), f"{name} is counted, or is not"
        matrix.named[one["id"]] = name, call.role
    roles = [call.role for call in found.values()]
    assert roles.count("owner") >= 15


def test_owner_endpoints_refuse_a_visitor_by_index_name_run_call_and_queue(
    found: Any, studio: Studio, visitor: Api, matrix: Matrix
) -> None:
    owners = [one for one in visitor.config["dependencies"] if found[one["id"]].role == "owner"]
    before, refusal = state_of(studio), text("error.ui.owner_only", "zh")
    for one in owners:
        blank = [None] * len(one["inputs"])
        answers = [visitor.call(one["id"], blank, trigger_id=one["targets"][0][0])]
        for name in (one["api_name"], "predict"):
            answer = visitor.http.post(
                f"/gradio_api/run/{name}", json={"data": blank, "fn_index": one["id"], "session_hash": visitor.session}
            )
            assert answer.status_code == 404, (name, answer.text)
            answer = visitor.http.post(f"/gradio_api/api/{name}", json={"data": blank, "fn_index": one["id"]})
            assert answer.status_code == 404, (name, answer.text)
        answers.append(called_by_name(visitor, one["api_name"], blank))
        for answer in answers:
            assert refused(answer, refusal), (one["api_name"], answer["output"])
        told = {"a visitor by index": "refused", "by name": "refused", "/run": "404", "/api": "404"}
        matrix.put(one["id"], **told)
    assert state_of(studio) == before


def called_by_name(api: Api, name: str, data: list[Any]) -> dict[str, Any]:
    joined = api.http.post(f"/gradio_api/call/{name}", json={"data": data})
    assert joined.status_code == 200, joined.text
    lines = api.http.get(f"/gradio_api/call/{name}/{joined.json()['event_id']}").text.splitlines()
    event = next(line.partition(": ")[2] for line in lines[::-1] if line.startswith("event: "))
    data_line = next(line.partition(": ")[2] for line in lines[::-1] if line.startswith("data: "))
    value = json.loads(data_line)
    if event == "error":
        return {"success": False, "output": value if isinstance(value, dict) else {"error": value}}
    return {"success": True, "output": {"data": value}}


def refused(answer: dict[str, Any], refusal: str) -> bool:
    """Said in words, or (what runs by itself) answered with updates that change nothing."""
    if not answer.get("success"):
        return refusal in json.dumps(answer.get("output"), ensure_ascii=False)
    return changes_nothing(answer["output"]["data"])


def changes_nothing(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(changes_nothing, value))
    if isinstance(value, dict):
        return all(name == "__type__" or changes_nothing(inner) for name, inner in value.items())
    return value is None


def test_refusals_are_real_because_the_owner_gets_through(studio: Studio, address: str) -> None:
    with Api(address) as owner:
        answer = owner.http.post("/login", data={"password": "开门"})
        assert answer.status_code == 303
        owner.call(owner.index("arrive", 1), [None])
        shown = owner.call(owner.index("choose_dataset"), [studio.datasets.list()[0].id])
        assert "海棠的棠" in json.dumps(shown, ensure_ascii=False)


def test_absurd_numbers_of_a_training_are_refused_by_http(studio: Studio, address: str) -> None:
    from anime_ai.training.recipe import Recipe
    from anime_ai.ui.training_tab import TrainingTab

    names = TrainingTab(studio).names
    plain = Recipe.from_values({}, studio.settings).as_json()
    dataset, before = studio.datasets.list()[0].id, len(studio.runs.list())
    absurd = {"learning_rate": 1e9, "lora_r": 0, "epochs": -1, "processes": 10**9, "seed": -(2**70)}
    with Api(address) as owner:
        owner.http.post("/login", data={"password": "开门"})
        for name, value in absurd.items():
            values = [{**plain, name: value}[one] for one in names]
            answer = owner.call(owner.index("start"), [dataset, "", *values])
            assert not answer.get("success"), name
            assert name in json.dumps(answer["output"]), name
    assert len(studio.runs.list()) == before


def test_nobody_sees_another_ones_conversation(
    found: Any, studio: Studio, visitor: Api, stranger: Api, matrix: Matrix
) -> None:
    arrive = visitor.dependency(visitor.index("arrive"))
    visitor.call(arrive["id"])
    send = visitor.index("send")
    told = visitor.call(send, [SECRET, None, "", False, *SamplingForm._set(Sampling())[1:], "", [], ""])
    assert SECRET in json.dumps(told, ensure_ascii=False)
    for one in stranger.config["dependencies"]:
        blank = [None] * len(one["inputs"])
        answers: list[Any] = [stranger.call(one["id"], blank)]
        # The other one's page load: the session hash alone opens nothing.
        answers.append(stranger.call(one["id"], blank, session=visitor.session))
        assert answers[-1]["status"] == 403
        # What her page keeps, such as the id of what is open, sent by another one.
        answers.append(stranger.call(one["id"], visitor.held.sent(one, blank)))
        answers.append(called_by_name(stranger, one["api_name"], blank))
        assert SECRET not in json.dumps(answers, ensure_ascii=False), found[one["id"]].__name__
        matrix.put(one["id"], **{"a stranger": "nothing of hers", "in her session": "403"})
    for path in (f"/gradio_api/queue/data?session_hash={visitor.session}", f"/gradio_api/heartbeat/{visitor.session}"):
        assert stranger.http.get(path).status_code == 403
    cancel = {"session_hash": visitor.session, "fn_index": send, "event_id": "x"}
    assert stranger.http.post("/gradio_api/cancel", json=cancel).status_code == 403
    # And it is all there for whom it belongs to, on a new page load too.
    visitor.session = "another-load"
    assert SECRET in json.dumps(visitor.call(arrive["id"]), ensure_ascii=False)


def test_routes_that_the_page_does_not_need_are_closed(visitor: Api, studio: Studio) -> None:
    database = studio.settings.studio_dir.resolve()
    closed = [
        f"/gradio_api/file={database}/studio.db",
        f"/gradio_api/file={database}/secret.key",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/monitoring",
        "/monitoring",
        "/gradio_api/runs",
        "/docs",
        "/openapi.json",
        "/gradio_api/openapi.json",
        "/gradio_api/vibe-code",
        "/gradio_api/token",
    ]
    for path in closed:
        assert visitor.http.get(path).status_code == 404, path
    for path in ("component_server", "process_recording", "vibe-edit", "stream/x", "run-history/connect"):
        assert visitor.http.post(f"/gradio_api/{path}", json={}).status_code == 404, path


def test_a_picture_is_handed_to_whom_it_belongs_alone(visitor: Api, studio: Studio, address: str) -> None:
    album, red = studio.vision.album, Image.new("RGB", (400, 400), "red")
    shown = album.add("owner", "她.png", red, Observation())
    album.enrol("owner", "雪见", [red])
    (known,) = album.known_by("owner")
    path = f"/picture/{shown.id}.webp"
    paths = [path, f"/thumb/{shown.id}.webp", f"/character/{known}.webp"]
    for one in (*paths, "/picture/nothing.webp", "/thumb/nothing.webp", "/character/nothing.webp"):
        assert visitor.http.get(one).status_code == 404, one
    with Api(address) as owner:
        owner.http.post("/login", data={"password": "开门"})
        sizes = [Image.open(io.BytesIO(owner.http.get(one).content)).size for one in paths]
        assert sizes == [(400, 400), (224, 224), (224, 224)]
        answer = owner.http.get(path)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"].startswith("private")
        assert answer.content == shown.path.read_bytes()
        assert owner.http.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_caption_dataset_is_the_owners(visitor: Api, studio: Studio, address: str) -> None:
    studio.vision.album.add(
        "owner", "她.png", Image.new("RGB", (20, 20)), Observation(tags=(Tag("smile", "expression"),))
    )
    refused = visitor.http.get("/pictures.zip")
    assert (refused.status_code, refused.text) == (403, text("error.ui.owner_only", "zh"))
    with Api(address) as owner:
        owner.http.post("/login", data={"password": "开门"})
        answer = owner.http.get("/pictures.zip?form=nonsense&trigger=xuejian")
        with ZipFile(io.BytesIO(answer.content)) as archive:
            assert b"xuejian, smile\n" in {archive.read(name) for name in archive.namelist() if name.endswith(".txt")}
        assert "no-store" in answer.headers["cache-control"]
    end = time.monotonic() + 20
    while list(studio.settings.output_dir.rglob("*.zip")):  # it goes behind the answer
        assert time.monotonic() < end, "something is left behind"
        time.sleep(0.05)


def test_uploads_and_downloads_are_the_owners(visitor: Api, studio: Studio, address: str) -> None:
    dataset = studio.datasets.list()[0].id
    assert visitor.http.post("/gradio_api/upload", files={"files": ("a.json", b"[]")}).status_code == 403
    assert visitor.http.get(f"/download/{dataset}.json").status_code == 403
    with Api(address) as owner:
        owner.http.post("/login", data={"password": "开门"})
        answer = owner.http.get(f"/download/{dataset}.json")
        assert len(answer.json()) == studio.datasets.list()[0].rows
        assert "attachment" in answer.headers["content-disposition"]
        table = owner.http.get(f"/download/{dataset}.json?as=csv")
        assert table.headers["content-disposition"].endswith(".csv")
        assert owner.http.get(f"/download/{dataset}.json?as=exe").status_code == 404
        assert owner.http.get("/download/nothing.json").status_code == 404
