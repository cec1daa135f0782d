"""Cards on the command line, as a user meets it; a training and an answer of a persona of one's own."""

from __future__ import annotations

import json
from pathlib import Path

from card_makers import encoded, png, text, v3
from test_cli import Call, call, refused

from anime_ai.persona.files import read

__all__ = ["call"]


def test_cards_go_in_and_out_and_are_shown(call: Call, tmp_path: Path) -> None:
    (tmp_path / "小花 卡.png").write_bytes(png([text("ccv3", encoded(v3(own=[1])))]))
    (tmp_path / "世界.json").write_text('{"entries": {"0": {"key": ["猫"], "content": "喵"}}}', encoding="utf-8")
    done = call("persona", "import", "小花 卡.png", "--output-dir", "out dir", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["name"] == "小花"
    done = call("persona", "import", "世界.json", "--output-dir", "out dir")
    assert (done.returncode, done.stdout) == (0, "✓ 已导入：世界\n")
    again = call("persona", "import", "小花 卡.png", "--output-dir", "out dir")
    assert (again.returncode, again.stdout) == (0, "")
    assert "一模一样" in again.stderr
    listed = call("persona", "show", "--output-dir", "out dir")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["傲娇", "活泼", "温柔", "三无", "小花"]
    one = call("persona", "show", "小花", "--output-dir", "out dir")
    assert "一只猫。" in one.stdout
    assert (
        json.loads(call("persona", "show", "傲娇", "--output-dir", "out dir", "--json").stdout)["data"]["name"]
        == "纪棠"
    )
    for form in ("png", "json", "charx"):
        done = call("persona", "export", "小花", "--out", f"她.{form}", "--output-dir", "out dir")
        assert done.returncode == 0, done.stderr
        card = read((tmp_path / f"她.{form}").read_bytes()).card
        assert card is not None
        assert card.data["own"] == [1]


def test_what_cannot_be_read_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    refused(call("persona", "import", "a.png", "--output-dir", "out"), "a.png", "没有角色卡")
    refused(call("persona", "import", "gone.png", "--output-dir", "out"), "gone.png")
    refused(call("persona", "export", "海盗", "--output-dir", "out"), "海盗", "傲娇")
    refused(call("persona", "export", "傲娇", "--form", "exe", "--output-dir", "out"), "exe", "charx")
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".exe", ".partial")]


def test_a_run_is_preprocessed_with_her_own_line(call: Call, tmp_path: Path) -> None:
    own = v3(extensions={"anime_ai": {"persona": "猫系", "system_line": "你是小花，一只会说话的猫。"}})
    (tmp_path / "card.json").write_text(json.dumps(own, ensure_ascii=False), encoding="utf-8")
    assert call("persona", "import", "card.json", "--output-dir", "out").returncode == 0
    rows = [{"input": f"问题{number}？", "output": f"喵{number}。", "persona": "猫系"} for number in range(12)]
    (tmp_path / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    done = call("preprocess", "--dataset", "rows.json", "--output-dir", "out", "--model", "starter")
    assert done.returncode == 0, done.stderr
    from datasets import load_from_disk
    from transformers import AutoTokenizer

    from anime_ai.config import STARTER_LM

    tokenizer = AutoTokenizer.from_pretrained(STARTER_LM)
    told = [tokenizer.decode(row["input_ids"]) for row in load_from_disk(str(tmp_path / "out/processed_data"))["train"]]
    assert told
    assert all("你是小花，一只会说话的猫。" in one for one in told)
    assert any("喵？" in one for one in told)  # her greeting stands before half of the rows
