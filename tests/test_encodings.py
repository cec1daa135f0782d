"""Bytes to text: encodings that are recognised, found, named by a person, or told to be unsure."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import pytest
from test_sources import GOOD, as_json, refused

from anime_ai.config import Settings
from anime_ai.dataset.intake import Choices, look, read
from anime_ai.dataset.rows import Row
from anime_ai.encodings import decode, zipped_name
from anime_ai.errors import SettingsError

SIMPLIFIED = "今天放学以后要不要一起去图书馆？我找到一本很有意思的书，你一定会喜欢的。"
TRADITIONAL = "今天放學以後要不要一起去圖書館？我找到一本很有意思的書，你一定會喜歡的。"
JAPANESE = "今日の放課後、いっしょに図書館へ行きませんか。とても面白い本を見つけました。"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD, ensure_ascii=False),
        "问,答\n在吗,哼\n",
        "小明：在吗\n雪见：哼\n小明：好\n雪见：嗯\n",
        "小明：一起走一走？\n雪见：一步也不走。\n小明：就一会儿，一条街\n雪见：一个人去\n",
    ],
)
def test_unicode_is_recognised_with_and_without_a_mark(encoding: str, text: str) -> None:
    decoded = decode(text.encode(encoding))
    assert (decoded.text, decoded.sure, decoded.others) == (text, True, ())
    assert read(text.encode(encoding), "x").rows
    assert not any(note.key == "unsure_encoding" for note in read(text.encode(encoding), "x").notes)


@pytest.mark.parametrize(
    ("text", "encoding"), [(SIMPLIFIED, "gb18030"), (TRADITIONAL, "big5"), (JAPANESE, "shift_jis")]
)
def test_an_everyday_encoding_is_found(text: str, encoding: str) -> None:
    decoded = decode(text.encode(encoding))
    assert (decoded.text, decoded.encoding) == (text, encoding)
    values = [{"input": text, "output": text}]
    for content in (json.dumps(values, ensure_ascii=False), f"input,output\n{text},{text}\n"):
        reading = read(content.encode(encoding), "x")
        assert reading.rows == (Row(text, text),)
        assert reading.encoding == encoding


@pytest.mark.parametrize(
    ("text", "encoding", "codec"), [("①㈱髙橋さんと話しました。", "cp932", "cp932"), ("裏面", "big5hkscs", "big5")]
)
def test_what_windows_writes_beyond_the_standard(text: str, encoding: str, codec: str) -> None:
    assert decode((TRADITIONAL + text if codec == "big5" else text).encode(encoding)).text.endswith(text)


def test_what_is_unsure_is_said_with_alternatives() -> None:
    content = "input,output\n你好,再见\n".encode("gb18030")
    preview = look(content, "短.csv")
    assert not preview.encoding.sure
    assert preview.encoding.encoding == "gb18030"
    assert preview.rows == (Row("你好", "再见"),)
    for encoding, begins in preview.encoding.others:
        assert begins
        assert begins.split()[-1] in content.decode(encoding)
    (note,) = [note for note in preview.notes if note.key == "unsure_encoding"]
    assert "gb18030" in note.say("zh")
    assert note in read(content, "短.csv").notes
    named = look(content, "短.csv", Choices(encoding="gbk"))
    assert named.encoding.sure
    assert named.rows == preview.rows
    assert not any(note.key == "unsure_encoding" for note in named.notes)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "idna", "utf-8\0"])
def test_an_encoding_that_is_none(encoding: str) -> None:
    assert refused("在吗".encode(), Choices(encoding=encoding)).key in (
        "dataset.unknown_encoding",
        "dataset.wrong_encoding",
    )


def test_a_wrong_encoding_is_told_with_its_place() -> None:
    error = refused(as_json(GOOD), Choices(encoding="ascii"))
    assert (error.key, error.values["position"]) == ("dataset.wrong_encoding", 12)


def test_nothing_is_ever_replaced() -> None:
    rng = random.Random(3)
    for _ in range(300):
        text = "".join(rng.choice(SIMPLIFIED + TRADITIONAL + JAPANESE + "abc,\n") for _ in range(rng.randint(5, 60)))
        content = bytearray(text.encode(rng.choice(("utf-8", "gb18030", "utf-16"))))
        for _ in range(rng.randint(0, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            decoded = decode(bytes(content))
        except UnicodeDecodeError:
            continue
        assert "\ufffd" not in decoded.text or "\ufffd".encode() in content or decoded.encoding.startswith("utf-16")
        assert decoded.text == bytes(content).decode(decoded.encoding).removeprefix("\ufeff")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_settings_as_windows_saves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    Path(".env").write_text("ANIME_AI_PERSONA=三无\r\nANIME_AI_SEED=7\r\n", encoding=encoding)
    if encoding.startswith("utf-8"):
        assert (Settings.load().persona, Settings.load().seed) == ("三无", 7)
        return
    with pytest.raises(SettingsError, match=r"UTF-8") as refused:
        Settings.load()
    assert str(tmp_path / ".env") in refused.value.say("en")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("name", ["资料.txt", "设定/海棠 (一).md", "plain.txt"])
def test_a_name_in_a_zip_of_macos_or_a_chinese_windows(name: str, encoding: str) -> None:
    entry = zipfile.ZipInfo(name.encode(encoding).decode("cp437"))
    assert zipped_name(entry) == name
    entry.flag_bits |= 0x800
    assert zipped_name(entry) == entry.filename, "a name that is marked as UTF-8 is one"
