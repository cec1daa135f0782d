"""The models that are offered: a plain table of what they are, how large, under which licence. Knows no disk.

Sizes of bases and embeddings follow from their architectures, which their published configurations tell: 16 bits a
weight for the one, 32 for the other. The listing of the hub tells them to the byte before anything is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anime_ai.errors import ModelError
from anime_ai.models.hub import is_hub_id

Kind = Literal["base", "embedding", "vision", "gguf"]
KINDS: tuple[Kind, ...] = ("base", "embedding", "vision", "gguf")
STARTER = "starter"
BASE_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.*", "LICENSE*", "README.md")
"""Patterns of what is fetched of a model; a `*` ends at a slash. Pickles are never among it."""
SENTENCE_FILES = (*BASE_FILES, "[0-9]_*/*.json", "[0-9]_*/*.safetensors")
OPEN_CLIP_FILES = ("open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json")


@dataclass(frozen=True)
class Architecture:
    """The sizes of a Qwen2 or Qwen3 model. `head`: dimensions of one head; `stored_head`: the file holds the output
    head a second time although it is tied to the embeddings."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int = 151_936
    tied: bool = True
    stored_head: bool = False
    qwen3: bool = False

    @property
    def matrices(self) -> tuple[tuple[str, int, int], ...]:
        """Name, rows and columns of the linear layers of one block."""
        wide, narrow = self.heads * self.head, self.kv_heads * self.head
        return (
            ("q_proj", wide, self.hidden),
            ("k_proj", narrow, self.hidden),
            ("v_proj", narrow, self.hidden),
            ("o_proj", self.hidden, wide),
            ("gate_proj", self.inner, self.hidden),
            ("up_proj", self.inner, self.hidden),
            ("down_proj", self.hidden, self.inner),
        )

    @property
    def parameters(self) -> int:
        """Weights, those that are tied counted once."""
        beside = 2 * self.head if self.qwen3 else (self.heads + 2 * self.kv_heads) * self.head
        block = sum(rows * columns for _, rows, columns in self.matrices) + beside + 2 * self.hidden
        return self.layers * block + self.hidden + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def stored(self) -> int:
        """Weights in the published files."""
        return self.parameters + self.stored_head * self.vocabulary * self.hidden


@dataclass(frozen=True)
class Entry:
    """A model by its id on the hub. `size`: bytes of its weights, 0 where only the hub knows; `good`: the text that
    says what it is good for; `files`: patterns of what is fetched, `needed`: files without which it cannot be used."""

    id: str
    kind: Kind
    licence: str = ""
    size: int = 0
    good: str = ""
    files: tuple[str, ...] = BASE_FILES
    needed: tuple[str, ...] = ()
    architecture: Architecture | None = None

    @property
    def repository(self) -> str:
        """The id of what lies on the hub: a GGUF's own id names the file in it as well."""
        return "/".join(self.id.split("/")[:2]) if self.kind == "gguf" else self.id


def _base(id: str, licence: str, good: str, *sizes: int, **more: bool) -> Entry:
    made = Architecture(*sizes, **more)  # type: ignore[arg-type]
    return Entry(id, "base", licence, 2 * made.stored, good, architecture=made)


def _sentences(id: str, good: str, parameters: int, *pickle: str) -> Entry:
    files, needed = (*SENTENCE_FILES, *pickle), ("modules.json", *pickle) if pickle else ()
    return Entry(id, "embedding", "MIT", 4 * parameters, good, files, needed)


def _open_clip(id: str, licence: str, good: str, megabytes: int) -> Entry:
    files = (*OPEN_CLIP_FILES, "*.json", "*.model", "merges.txt")
    return Entry(id, "vision", licence, megabytes * 10**6, good, files, OPEN_CLIP_FILES)


DEFAULT = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
TAGGER_FILES = ("selected_tags.csv", "model.onnx")
CATALOGUE: tuple[Entry, ...] = (
    _base(DEFAULT, "MIT", "model.good.thinks", 28, 1536, 8960, 12, 2, 128, tied=False),
    _base("Qwen/Qwen2.5-0.5B-Instruct", "Apache-2.0", "model.good.smallest", 24, 896, 4864, 14, 2, 64),
    _base("Qwen/Qwen2.5-1.5B-Instruct", "Apache-2.0", "model.good.talks", 28, 1536, 8960, 12, 2, 128),
    _base(
        "Qwen/Qwen3-0.6B", "Apache-2.0", "model.good.small", 28, 1024, 3072, 16, 8, 128, stored_head=True, qwen3=True
    ),
    _base(
        "Qwen/Qwen3-1.7B", "Apache-2.0", "model.good.strong", 28, 2048, 6144, 16, 8, 128, stored_head=True, qwen3=True
    ),
    _sentences("BAAI/bge-small-zh-v1.5", "model.good.bge_small", 23_953_920),
    _sentences("BAAI/bge-base-zh-v1.5", "model.good.bge_base", 102_267_648),
    _sentences("BAAI/bge-large-zh-v1.5", "model.good.bge_large", 325_522_432),
    _sentences("BAAI/bge-m3", "model.good.bge_m3", 567_754_752),
    Entry(
        "SmilingWolf/wd-vit-tagger-v3",
        "vision",
        "Apache-2.0",
        379 * 10**6,
        "model.good.tagger",
        TAGGER_FILES,
        TAGGER_FILES,
    ),
    _open_clip("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", "MIT", "model.good.clip", 1_460),
    _open_clip("timm/ViT-B-32-SigLIP2-256", "Apache-2.0", "model.good.siglip", 1_510),
    _open_clip("laion/mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k", "MIT", "model.good.caption", 1_010),
)
"""The default first. One that is not in it can be fetched by its id all the same."""


def entry(id: str, kind: Kind = "base") -> Entry:
    """What the catalogue says of an id; one that it does not know is a model of this kind, or, where the id goes on
    with the name of a `.gguf` file, that file. Raises ModelError for what is no id."""
    found = next((one for one in CATALOGUE if one.id == id), None)
    if found is not None:
        return found
    owner, _, rest = id.partition("/")
    name, _, file = rest.partition("/")
    if file.lower().endswith(".gguf") and "/" not in file and is_hub_id(f"{owner}/{name}"):
        return Entry(id, "gguf", files=(file,), needed=(file,))
    if not is_hub_id(id):
        raise ModelError("model.unknown", name=id[:100])
    return Entry(id, kind, files=SENTENCE_FILES if kind == "embedding" else BASE_FILES)


def chat_bytes(one: Entry) -> int:
    """Memory that a chat with a base takes in 16 bits: its weights, and what a process of torch was measured to hold
    beside them (4.2 GB with the 1.5B on a processor)."""
    return 2 * one.architecture.parameters + 650 * 10**6 if one.architecture else 0


def small_chat_bytes(one: Entry) -> int:
    """The same as a GGUF in 4 bits: 4.5 bits a weight of the blocks, 6 of the embeddings and the head, and some
    800 MB of cache and buffers (measured: 1.9 GB with the 1.5B)."""
    made = one.architecture
    if made is None:
        return 0
    outside = made.vocabulary * made.hidden * (1 if made.tied else 2)
    return int((made.parameters - outside) * 4.5 / 8 + outside * 6 / 8 + 800 * 10**6)
