"""The tokenizer that a GGUF file carries, as transformers has one. Knows byte-level BPE of Qwen2's kind and no other.

transformers' own reader of GGUF files leaves out every mark that is not ASCII, which are DeepSeek's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError
from anime_ai.models.gguf_heads import Head, read_lists

SPLITS = {"qwen2": "NFC", "deepseek-r1-qwen": ""}
"""Ways to cut a text into words that are known, by llama.cpp's names, and how each text is normalised before. All cut
as Qwen2 does; a GGUF file does not tell the normal form: these are the published ones."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 cuts (https://huggingface.co/Qwen/Qwen2.5-1.5B-Instruct/blob/main/tokenizer.json)."""
_LISTS = tuple(f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges"))
_NORMAL, _CONTROL, _USER = 1, 3, 4
"""llama.cpp's kinds of tokens: words, marks that nobody writes, and marks that are read in a text."""
_OWN_BEGIN = "<｜begin▁of▁sentence｜>"


def check_tokenizer(file: Path, head: Head) -> None:
    """Raise ModelError for a file whose tokenizer is none that is known; its lists are not read."""
    kind, split = (str(head.values.get(f"tokenizer.ggml.{name}") or "-")[:64] for name in ("model", "pre"))
    if kind != "gpt2" or split not in SPLITS:
        raise ModelError("model.gguf_tokenizer", name=file.name, kind=f"{kind} / {split}")


def read_tokenizer(file: Path) -> Any:
    """The tokenizer of a file. Raises ModelError where it has none that is known."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    from anime_ai.models.imports import one_at_a_time

    with one_at_a_time:
        from transformers import PreTrainedTokenizerFast

    head = read_lists(file, _LISTS)
    check_tokenizer(file, head)
    tokens, kinds, merges = (head.values.get(name) or [] for name in _LISTS)
    try:
        pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
        told = list(zip(tokens, kinds, strict=True))
        words = {token: id for id, (token, kind) in enumerate(told) if kind in (_NORMAL, _CONTROL, _USER)}
        if not tokens or not merges:
            raise ValueError("no vocabulary")
        made = Tokenizer(BPE(vocab=words, merges=pairs))
    except Exception as error:  # tokenizers raises bare exceptions
        raise ModelError("model.broken_file", path=file, why=str(error)[:200]) from error
    if form := SPLITS[head.values["tokenizer.ggml.pre"]]:
        made.normalizer = getattr(normalizers, form)()
    cut = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.add_tokens([_added(AddedToken, token, kind) for token, kind in told if kind in (_CONTROL, _USER)])
    template = head.values.get("tokenizer.chat_template")
    ready = PreTrainedTokenizerFast(
        tokenizer_object=made,
        clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in _named(head, tokens).items()},
    )
    ready.chat_template = template if isinstance(template, str) else None
    return ready


def _added(kind_of: Any, token: str, kind: int) -> Any:
    return kind_of(token, normalized=False, special=kind == _CONTROL)


def _named(head: Head, tokens: list[str]) -> dict[str, str]:
    """The tokens that begin, end and pad. A file names a begin token also where no prompt begins with it (Qwen's): it
    counts where the file says that it is put there, or its template does."""
    found = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        id = head.values.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(id, int) and 0 <= id < len(tokens):
            found[name] = tokens[id]
    begins = head.values.get("tokenizer.ggml.add_bos_token") is True
    template = str(head.values.get("tokenizer.chat_template") or "")
    if not (begins or "bos_token" in template or found.get("bos") == _OWN_BEGIN):
        found.pop("bos", None)
    return found
