"""The starter's tokenizer: byte-level BPE in the manner of Qwen2, with DeepSeek-R1's marks. Knows no model.

Every common character is a token of its own, and beyond that only pairs of characters that are words, so that a word is
cut the same way wherever it stands: a tiny model does not learn a sentence anew for each way to cut it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from anime_ai.config import DATA, PHRASES
from anime_ai.files import read_json, write_json
from anime_ai.starter.words import common_characters

VOCABULARY = 6_000
COHESION = 0.2
"""A pair of characters is a word when it stands this often, over the geometric mean of its characters' counts."""
SELDOM = 12
"""A pair that stands less often is no token."""

# The expression of Qwen2's tokenizer.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_CHINESE = re.compile("[\u4e00-\u9fff]+")

END, USER, ASSISTANT, BEGIN = "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>"
# In the order and with the flags of DeepSeek-R1-Distill-Qwen; only begin and end are "special" there.
MARKS: tuple[tuple[str, bool], ...] = (
    (END, True),
    (USER, False),
    (ASSISTANT, False),
    (BEGIN, True),
    ("<|EOT|>", False),
    ("<think>", False),
    ("</think>", False),
    ("<tool_call>", False),
    ("</tool_call>", False),
)

# The same layout as anime_ai.prompting writes under "deepseek-r1" and "silent"; a test compares the two.
TEMPLATE = (
    "{{ bos_token }}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{ message['content'] }}"
    "{%- elif message['role'] == 'user' -%}{{ '<｜User｜>' + message['content'] }}"
    "{%- else -%}{{ '<｜Assistant｜><think>\\n\\n</think>\\n\\n' + message['content'] + eos_token }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<｜Assistant｜><think>\\n\\n</think>\\n\\n' }}{%- endif -%}"
)


def train(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokenizer of at most `vocabulary` entries, marks included, of `texts` and what the project ships in `data/`.

    The same texts make the same one.

    First come the merges that make each common or personal character whole, then those of the texts' words: no token
    ends inside a character that has one.
    """
    own = list(_own_texts())
    phrases = (file.read_text(encoding="utf-8") for file in PHRASES.rglob("*.txt"))
    characters = sorted({*common_characters(), *"".join(own), *"".join(_CHINESE.findall("".join(phrases)))})
    merges = dict.fromkeys(merge for character in characters for merge in _whole(character))
    tokens = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)])
    for left, right in _words([*texts, *own], set(characters))[: vocabulary - len(tokens) - len(MARKS)]:
        merge = (_byte_level(left), _byte_level(right))
        merges[merge] = None
        tokens["".join(merge)] = None
    vocab = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(mark, special=special, normalized=False) for mark, special in MARKS])
    return tokenizer


def _words(texts: Iterable[str], known: set[str]) -> list[tuple[str, str]]:
    """Pairs of Chinese characters that hold together, the most frequent first."""
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for run in (run for text in texts for run in _CHINESE.findall(text)):
        singles.update(run)
        pairs.update(pairwise(run))
    words = [
        (count, pair)
        for pair, count in pairs.items()
        if count >= SELDOM and known.issuperset(pair) and count**2 >= COHESION**2 * singles[pair[0]] * singles[pair[1]]
    ]
    return [pair for _, pair in sorted(words, key=lambda found: (-found[0], found[1]))]


def _byte_level(text: str) -> str:
    return "".join(_BYTES[byte] for byte in text.encode())


def _whole(character: str) -> list[tuple[str, str]]:
    """The merges that make one token of a character's bytes, from the left."""
    written = _byte_level(character)
    return [(written[:place], written[place]) for place in range(1, len(written))]


def _own_texts() -> Iterator[str]:
    for file in sorted([*DATA.glob("*.json"), *DATA.glob("personas/*.json")]):
        for cell in _cells(read_json(file)):
            yield unicodedata.normalize("NFC", cell)


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's way to write a byte as a printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """`tokenizer.json`, `tokenizer_config.json` and the chat template, as transformers reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "pad_token": END,
            "unk_token": None,
            "model_max_length": 2048,
            "clean_up_tokenization_spaces": False,
        },
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8", newline="\n")


def _cells(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _cells(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _cells(inner)
