"""What is published: folders of an adapter, a dataset, a merged model, a GGUF; the Modelfile; what must not leave."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anime_ai.chat.service import SHIPPED
from anime_ai.config import Settings
from anime_ai.dataset.rows import Row
from anime_ai.errors import PublishError
from anime_ai.files import write_json
from anime_ai.models.bases import STARTER, find_base
from anime_ai.models.merging import merge
from anime_ai.models.weights import Weights
from anime_ai.prompting import Dialogue, Exchange, Layout
from anime_ai.publishing.checks import check_leaves
from anime_ai.publishing.folders import make, make_dataset
from anime_ai.publishing.model_cards import plain
from anime_ai.publishing.ollama import modelfile, stops, template
from anime_ai.publishing.proving import prove
from anime_ai.publishing.trained import Trained, front_matter

KUUDERE = SHIPPED / "kuudere"


def trained_of(settings: Settings, adapter: Path = KUUDERE) -> Trained:
    return Trained.open(adapter, settings)


# Merging


def test_a_merge_is_the_base_plus_the_adapter_in_bf16_and_loads_as_a_plain_model(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    base, told = find_base(STARTER, Settings()), []
    made = merge(base, tmp_path / "合并 model", KUUDERE, lambda *now: told.append(now), most=2 * 10**6)
    index = json.loads((made.folder / "model.safetensors.index.json").read_text())
    loaded: dict[str, Any] = {}
    for file in sorted(made.folder.glob("*.safetensors")):
        assert file.stat().st_size < 5 * 10**6
        loaded |= load_file(file)
    assert set(index["weight_map"]) == set(loaded)
    assert index["metadata"]["total_size"] == made.bytes
    assert told[-1] == (made.tensors, made.tensors)
    with Weights(base, KUUDERE) as weights, Weights(base) as plain_weights:
        changed = 0
        for name, found in loaded.items():
            wanted = torch.cat([torch.from_numpy(rows) for rows in weights.slices(name)])
            before = torch.cat([torch.from_numpy(rows) for rows in plain_weights.slices(name)])
            assert found.dtype == torch.bfloat16
            assert torch.equal(found, wanted.to(torch.bfloat16)), name
            changed += not torch.equal(before, wanted)
    assert changed > 3
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(made.folder, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert AutoTokenizer.from_pretrained(made.folder).encode("你好")


def test_a_merge_that_dies_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")

    def die(done: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(find_base(STARTER, Settings()), tmp_path / "model", None, die)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "mine").read_text() == "mine"


# The Modelfile


def rendered(template: str, system: str, messages: list[tuple[str, str]]) -> str:
    """What Go's text/template makes of a Modelfile's template, as far as ours go: ifs, one range, strings."""
    tokens = re.split(r"({{.*?}})", template)
    at = 0

    def truth(test: str, scope: dict[str, Any]) -> bool:
        if test.startswith("not "):
            return not truth(test[4:], scope)
        if test == ".System":
            return bool(system)
        if test.startswith("eq $said.Role "):
            return scope["said"][0] == json.loads(test.removeprefix("eq $said.Role "))
        assert test == "$last", test
        return scope["last"]

    def block(scope: dict[str, Any], live: bool) -> tuple[str, str]:
        """Text up to the `end` or `else` that closes this block, and which it was."""
        nonlocal at
        parts = []
        while at < len(tokens):
            token = tokens[at]
            at += 1
            if not token.startswith("{{"):
                parts.append(token)
                continue
            said = token[2:-2].strip()
            if said == "end" or said.startswith("else"):
                return "".join(parts) if live else "", said
            if said.startswith("if "):
                parts.append(chosen(said[3:], scope, live))
            elif said.startswith("range "):
                assert said == "range $place, $said := .Messages"
                start = at
                for place, message in enumerate(messages):
                    at = start
                    inner = {"said": message, "last": len(messages[place:]) == 1}
                    parts.append(block(inner, live)[0])
                if not messages:
                    block({"said": ("", ""), "last": False}, False)
            elif said == ".System":
                parts.append(system)
            elif said == "$said.Content":
                parts.append(scope["said"][1])
            elif said.startswith("$last :="):
                assert said == "$last := eq (len (slice $.Messages $place)) 1"
            else:
                parts.append(json.loads(said))
        return "".join(parts) if live else "", ""

    def chosen(test: str, scope: dict[str, Any], live: bool) -> str:
        taken = truth(test, scope)
        made, closed = block(scope, live and taken)
        if closed.startswith("else if "):
            return made + chosen(closed.removeprefix("else if "), scope, live and not taken)
        if closed == "else":
            made += block(scope, live and not taken)[0]
        return made

    return block({}, True)[0]


TALK = [("assistant", "哼，你来了。"), ("user", "你好\n第二行"), ("assistant", "……嗯。"), ("user", "喜欢什么动漫？")]
DIALOGUE = Dialogue(
    card="你是三无少女。", greeting=TALK[0][1], history=(Exchange(TALK[1][1], TALK[2][1]),), question=TALK[3][1]
)


@pytest.mark.parametrize("think", ["silent", "inner", "open"])
@pytest.mark.parametrize("format", ["deepseek-r1", "chatml", "seed"])
def test_ollama_renders_what_training_rendered(tiny_tokenizer: Any, format: str, think: str) -> None:
    layout = Layout(tiny_tokenizer, format, think)
    prompt = layout.prompt(DIALOGUE)
    assert rendered(template(layout), DIALOGUE.card, TALK) == layout.decode(prompt.ids)
    bare = layout.prompt(Dialogue(question="在吗"))
    assert rendered(template(layout), "", [("user", "在吗")]) == layout.decode(bare.ids)
    assert {layout.decode([token]) for token in prompt.stop_ids} | set(prompt.stop_texts) == set(stops(layout))


def test_the_tokens_are_those_of_training_too(settings: Settings) -> None:
    from anime_ai.models.transformers_engine import load_tokenizer

    layout = Layout(load_tokenizer(find_base(STARTER, settings)))
    text = rendered(template(layout), DIALOGUE.card, TALK)
    assert tuple(layout.tokenizer.encode(text, add_special_tokens=False)) == layout.prompt(DIALOGUE).ids


def test_an_answer_that_was_begun_is_gone_on_with(tiny_tokenizer: Any) -> None:
    layout = Layout(tiny_tokenizer, "deepseek-r1")
    begun = rendered(template(layout), "", [("user", "在吗"), ("assistant", "在的，")])
    assert begun.endswith("</think>\n\n在的，")
    whole = rendered(template(layout), "", [("user", "在吗"), ("assistant", "在的，"), ("user", "好")])
    assert whole.startswith(begun + "<｜end▁of▁sentence｜>")


def test_a_modelfile_holds_each_stop_and_no_open_quotes(tiny_tokenizer: Any) -> None:
    layout = Layout(tiny_tokenizer, "deepseek-r1")
    made = modelfile(layout, "model.gguf", '她说"""不"""\nFROM /etc/passwd', 2048)
    lines = made.splitlines()
    assert lines[0] == "FROM ./model.gguf"
    told = re.findall(r'^PARAMETER stop (".*")$', made, re.MULTILINE)
    assert {json.loads(one) for one in told} == set(stops(layout))
    assert made.count('"""') == 4
    assert "\nPARAMETER num_ctx 2048\n" in made


# Folders


def test_an_adapter_alone_leaves_with_its_page_and_nothing_of_this_machine(settings: Settings, tmp_path: Path) -> None:
    made = make(trained_of(settings), "adapter", tmp_path / "out", settings)
    names = {file.name for file in made.folder.iterdir()}
    assert names == {"README.md", "adapter_config.json", "adapter_model.safetensors", "anime_ai.json"}
    assert made.parity is not None
    assert made.parity.equal == made.parity.total >= 4
    matter = front_matter(made.folder / "README.md")
    assert matter["license"] == "apache-2.0"
    assert "base_model" not in matter, "the starter is on no hub"
    page = (made.folder / "README.md").read_text(encoding="utf-8")
    assert trained_of(settings).notes["layout"] in page
    assert "三无" in page
    everything = b"".join(file.read_bytes() for file in made.folder.iterdir())
    assert str(tmp_path).encode() not in everything
    assert str(Path.home()).encode() not in everything


@pytest.mark.slow
def test_a_run_leaves_with_curve_samples_scores_and_statistics(trained_run: Any, tmp_path: Path) -> None:
    settings = Settings.load(output_dir=trained_run.folder.parent.parent, model_name="starter")
    figures = {"style": {"base": 0.1, "adapter": 0.9, "low": 0.8, "high": 0.95}}
    file = trained_run.folder / "evaluation.json"
    write_json(file, {"state": "done", "checkpoint": trained_run.checkpoint, "figures": figures})
    try:
        made = make(trained_of(settings, trained_run.adapter), "adapter", tmp_path / "out", settings)
    finally:
        file.unlink()
    page = (made.folder / "README.md").read_text(encoding="utf-8")
    with Image.open(made.folder / "loss.png") as plot:
        colours = plot.convert("RGB").getcolors(2**20)
        assert plot.width > 600
    assert any(colour == (0xD6, 0x45, 0x7A) for _, colour in colours), "the curve is drawn"
    assert "loss.png" in page
    assert "| 0.100 | 0.900 | 0.800 – 0.950 |" in page
    samples = [json.loads(line) for line in (made.folder / "samples.jsonl").read_text("utf-8").splitlines()]
    assert any(one["prompt"] == "你喜欢什么动漫？" and one["reply"] for one in samples)
    assert "| 傲娇 | 16 |" in page
    config = json.loads((made.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "starter"


@pytest.mark.slow
def test_a_merged_model_and_a_gguf_answer_as_the_adapter_does(settings: Settings, tmp_path: Path) -> None:
    trained = trained_of(settings)
    merged = make(trained, "merged", tmp_path / "merged", settings)
    assert merged.parity is not None
    assert merged.parity.holds("bf16")
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= {
        file.name for file in merged.folder.iterdir()
    }
    told: list[tuple[int, int]] = []
    gguf = make(trained, "gguf", tmp_path / "gguf", settings, "f16", lambda *now: told.append(now))
    assert gguf.parity is not None
    assert gguf.parity.holds("f16")
    assert max(count for _, count in told) > 20, "every tensor is told"
    assert told[-1] == (gguf.parity.total, gguf.parity.total), "and every question"
    names = {file.name for file in gguf.folder.iterdir()}
    assert names == {"model.gguf", "Modelfile", "README.md", "anime_ai.json"}
    assert trained.card in (gguf.folder / "Modelfile").read_text(encoding="utf-8")


def test_an_export_that_answers_otherwise_does_not_leave(settings: Settings, tmp_path: Path) -> None:
    trained = trained_of(settings)
    other = tmp_path / "other"
    shutil.copytree(SHIPPED / "genki", other)
    with pytest.raises(PublishError) as refused:
        prove(trained, "adapter", other, settings)
    assert refused.value.key == "publishing.differs"
    wrong = merge(trained.base, tmp_path / "wrong", SHIPPED / "genki")
    with pytest.raises(PublishError):
        prove(trained, "bf16", wrong.folder, settings)


def test_a_dataset_leaves_without_drafts_and_reads_back(settings: Settings, tmp_path: Path) -> None:
    rows = [Row("你好", "哼。", "傲娇"), Row("在吗", "在。", "三无"), Row("草稿", "不。", "傲娇", draft=True)]
    made = make_dataset("我的 <b>对话</b> | x", rows, tmp_path / "data", settings)
    lines = (made.folder / "data.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [row.as_json() for row in rows[:2]]
    page = (made.folder / "README.md").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "data_files: data.jsonl" in page
    assert front_matter(made.folder / "README.md")["license"] == "other"


# What must not leave


def test_paths_secrets_and_pickles_do_not_leave(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    settings = settings.model_copy(update={"owner_password": Settings(owner_password="海棠的棠花").owner_password})
    check_leaves(folder, settings)
    for name, content, key in (
        ("a.json", str(settings.output_dir.resolve()), "local_path"),
        ("b.md", "token hf_" + "a" * 34, "secret"),
        ("c.md", "my-own-token-1", "secret"),
        ("d.txt", "密码是海棠的棠花", "secret"),
        ("e.bin", "weights", "pickle"),
    ):
        (folder / name).write_text(content, encoding="utf-8")
        with pytest.raises(PublishError) as refused:
            check_leaves(folder, settings, token="my-own-token-1")
        assert refused.value.key == f"publishing.{key}", name
        assert "my-own-token-1" not in str(refused.value)
        (folder / name).unlink()


def test_what_a_person_wrote_is_no_markup_on_the_page() -> None:
    said = plain("a | b\n# c <img src=x onerror=alert(1)> [x](javascript:y) `z`")
    assert "\n" not in said
    assert "<img" not in said
    assert "](" not in said.replace("\\]", "")
    assert " | " not in said
