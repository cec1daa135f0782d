"""The publishing tab's handlers on a real studio, its orders in their thread, a bundle dropped among the cards."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import OWNER, open_studio
from writable_hub import TOKEN, WritableHub, writable_hub

from anime_ai.chat.service import SHIPPED
from anime_ai.errors import AnimeAIError, ModelError, PersonaError, PublishError
from anime_ai.publishing.bundles import is_bundle
from anime_ai.publishing.hub import HubAccount
from anime_ai.publishing.publisher import WHATS, Order, Progress
from anime_ai.studio import Studio
from anime_ai.ui.persona_tab import PersonaTab
from anime_ai.ui.publishing_tab import PublishingTab, progress_card

EVIL = "<img src=x onerror=alert(1)>"
WAIT_S = 200


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "app", model_name="starter") as found:
        yield found


@pytest.fixture
def hub(studio: Studio) -> Iterator[WritableHub]:
    with writable_hub() as found:
        studio.publisher._account = lambda token: HubAccount(token, found.endpoint)
        yield found


@pytest.fixture
def tab(studio: Studio) -> PublishingTab:
    final = studio.settings.output_dir / "final_model"
    shutil.copytree(SHIPPED / "kuudere", final)
    return PublishingTab(studio)


def values(tab: PublishingTab, **changes: Any) -> list[Any]:
    named = {
        "adapter": "final",
        "persona": tab.studio.personas.find("三无").id,
        "dataset": tab.studio.datasets.list()[0].id,
        "bases": [],
        "characters": [],
        "gguf_type": "q8_0",
        "repository": "",
        "public": False,
        "token": "",
    }
    return list({**named, **changes}.values())


def finished(tab: PublishingTab) -> Progress:
    return tab.publisher.wait(WAIT_S)


def test_what_there_is_to_publish_is_offered(tab: PublishingTab) -> None:
    adapters, personas, datasets, *_ = tab.arrive(OWNER, None, None, None)
    assert ("final_model", "final") in adapters["choices"]
    assert "" not in [id for _, id in adapters["choices"]], "the base alone is nobody's adapter"
    assert len(personas["choices"]) >= 4
    assert datasets["value"]
    assert personas["value"] == tab.studio.personas.find("三无").id, "she whose adapter it is"
    assert tab.choose_adapter(OWNER, "final")[0]["value"] == personas["value"]
    assert "value" not in tab.choose_adapter(OWNER, EVIL)[0]
    for what in WHATS:
        *fields, about = tab.choose_what(OWNER, what)
        assert any(one["visible"] for one in fields) or what == "studio"
        assert len(about) > 30
    assert tab.choose_what(OWNER, EVIL)[-1] == '<p class="who"></p>'


def test_a_bundle_is_made_proved_sent_and_dropped_elsewhere(
    tab: PublishingTab, hub: WritableHub, tmp_path: Path
) -> None:
    token, card, start, stop, timer = tab.start(OWNER, "bundle", *values(tab, repository="rin", token=TOKEN))
    assert token == "", "the token leaves the page"
    assert TOKEN not in card
    assert not start["interactive"]
    assert stop["visible"]
    assert timer.active
    now = finished(tab)
    assert now.state == "finished", now.error
    assert now.equal == now.asked >= 4
    assert now.made is not None
    assert is_bundle(now.made)
    assert set(hub.repo("model", "haitang/rin").files) == {now.made.name}
    shown = tab.look(OWNER)[0]
    assert f'href="{hub.endpoint}/haitang/rin"' in shown
    assert 'href="published"' in shown
    everything = [file.read_bytes() for file in tab.studio.settings.output_dir.rglob("*") if file.is_file()]
    assert not any(TOKEN.encode() in content for content in everything), "the token is kept nowhere"
    with open_studio(tmp_path / "other", model_name="starter") as other:
        cards = PersonaTab(other)
        _, told, *_ = cards.import_files(OWNER, [str(now.made)], {})
        assert 'class="good"' in told
        name = next(one.name for one in other.personas.list() if not one.shipped)
        assert other.chat.adapters(name)[0].persona == name
        assert "之前已经导入过" in cards.import_files(OWNER, [str(now.made)], {})[1]
        bad = tmp_path / "bad.zip"
        bad.write_bytes(now.made.read_bytes()[:-200])
        assert 'class="bad"' in cards.import_files(OWNER, [str(bad)], {})[1]


def test_a_bundle_is_sent_without_those_that_were_made_before(tab: PublishingTab, hub: WritableHub) -> None:
    for name in ("傲娇", "三无"):
        persona = tab.studio.personas.find(name).id
        (tab.publisher.folder / "bundle").mkdir(parents=True, exist_ok=True)
        (tab.publisher.folder / "bundle" / f".{name}.partial").write_bytes(b"what a dead process left")
        tab.start(OWNER, "bundle", *values(tab, adapter=None, persona=persona, repository=persona[:8], token=TOKEN))
        now = finished(tab)
        assert now.state == "finished", now.error
        assert now.made is not None
        assert set(hub.repo("model", f"haitang/{persona[:8]}").files) == {now.made.name}


def test_a_dataset_is_sent_as_a_dataset(tab: PublishingTab, hub: WritableHub) -> None:
    tab.start(OWNER, "dataset", *values(tab, repository="rows", public=True, token=TOKEN))
    assert finished(tab).state == "finished", finished(tab).error
    repo = hub.repo("dataset", "haitang/rows")
    assert set(repo.files) == {"README.md", "data.jsonl"}
    assert not repo.private


def test_the_whole_studio_is_saved_and_never_sent(tab: PublishingTab, hub: WritableHub) -> None:
    tab.start(OWNER, "studio", *values(tab, repository="mine", token=TOKEN))
    now = finished(tab)
    assert now.state == "finished", now.error
    assert now.made is not None
    assert now.made.name == "studio.zip"
    assert hub.asked == []


def test_what_cannot_be_published_is_said(tab: PublishingTab, hub: WritableHub) -> None:
    for what, changes, kind in (
        ("adapter", {"adapter": None}, PublishError),
        ("adapter", {"adapter": "../../etc"}, ModelError),
        ("bundle", {"persona": EVIL}, PersonaError),
        ("dataset", {"dataset": "nothing"}, AnimeAIError),
        (EVIL, {}, PublishError),
    ):
        with pytest.raises(kind):
            tab.start(OWNER, what, *values(tab, **changes))
    assert tab.publisher.now() == Progress()
    tab.start(OWNER, "dataset", *values(tab, repository="somebody/else", token=TOKEN))
    now = finished(tab)
    assert now.state == "failed"
    assert now.error is not None
    assert now.error.key == "publishing.no_right"
    assert now.made is not None, "what was made stays"
    assert "somebody/else" in progress_card(now, "zh")


def test_two_orders_at_once_and_a_stop(tab: PublishingTab, hub: WritableHub) -> None:
    hub.holds.clear()
    try:
        tab.start(OWNER, "bundle", *values(tab, repository="rin", token=TOKEN))
        with pytest.raises(PublishError) as busy:
            tab.start(OWNER, "dataset", *values(tab))
        assert busy.value.key == "publishing.busy"
        tab.stop(OWNER)
    finally:
        hub.holds.set()
    now = finished(tab)
    assert now.state in ("stopped", "finished")
    assert threading.active_count() < 60
    if now.state == "stopped":
        assert not hub.repos["model"] or hub.repo("model", "haitang/rin").commits == 0


def test_a_token_and_markup_are_in_nothing_that_is_shown() -> None:
    assert TOKEN not in repr(Order("adapter", token=TOKEN))
    for state in ("making", "sending", "failed"):
        now = Progress("bundle", state, 1, 2, error=PublishError("publishing.repository", name=EVIL))  # type: ignore[arg-type]
        assert "<img" not in progress_card(now, "zh")
