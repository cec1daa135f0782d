"""The pages beside what is published, as Markdown with the Hub's front matter. Knows only what it is told."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from anime_ai import __version__
from anime_ai.dataset.profile import Voice, profile
from anime_ai.dataset.rows import Row
from anime_ai.publishing.trained import Trained, hub_id, licence_of
from anime_ai.texts import text

PLOT = "loss.png"
MOST_SAMPLES = 8
SAMPLE = 400
"""Characters of one answer."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def model_page(trained: Trained, kind: str, plot: bool = False) -> str:
    """The page of an adapter (`kind` "adapter"), of a merged model ("merged") or of a GGUF file ("gguf")."""
    notes = trained.notes
    base = hub_id(trained.base)
    matter = {
        **({"base_model": base, "base_model_relation": _RELATIONS[kind]} if base else {}),
        "license": licence_of(trained.base),
        "language": ["zh"],
        "pipeline_tag": "text-generation",
        **({"library_name": _LIBRARIES[kind]} if kind in _LIBRARIES else {}),
        "tags": ["anime", "roleplay", "anime-ai-studio", *(["lora"] if kind == "adapter" else [])],
    }
    named = base or text("publishing.card.starter" if trained.base.starter else "publishing.card.own_base")
    parts = [
        _matter(matter),
        f"# {plain(trained.persona) or 'persona'}",
        text(f"publishing.card.{kind}", base=plain(named), version=__version__),
        _table(
            [
                (text("publishing.card.system_line"), plain(trained.card)),
                (text("publishing.card.layout"), _layout(notes)),
                (text("publishing.card.steps"), f"{notes.get('steps', '—')} / {notes.get('of_steps', '—')}"),
                (text("publishing.card.rate"), str(notes.get("learning_rate", "—"))),
                (text("publishing.card.precision"), plain(str(notes.get("precision", "—")))),
                *_recipe(trained.recipe),
                (text("publishing.card.sha256"), f"`{_hex(notes.get('dataset_sha256'))}`"),
            ]
        ),
        *_data(trained.rows()),
        *_loss(plot),
        *_scores(trained.scores()),
        *_samples(trained.samples()),
        f"## {text('publishing.card.licence')}",
        text("publishing.card.licence.says", licence=licence_of(trained.base)),
    ]
    return "\n\n".join(parts) + "\n"


def dataset_page(name: str, rows: Sequence[Row], licence: str) -> str:
    """The page of a dataset that stands beside it as `data.jsonl`."""
    size = next((named for most, named in SIZES if len(rows) < most), "100K<n<1M")
    matter = {
        "license": licence or "other",
        "language": ["zh"],
        "task_categories": ["text-generation"],
        "size_categories": [size],
        "tags": ["anime", "roleplay", "anime-ai-studio"],
        "configs": "\n- config_name: default\n  data_files: data.jsonl",
    }
    fields = "`input`, `output`, `persona`, `history`, `system`, `inner`, `rejected`, `tags`"
    says = text("publishing.card.dataset", rows=len(rows), fields=fields, version=__version__)
    return "\n\n".join([_matter(matter), f"# {plain(name)}", says, *_data(rows)]) + "\n"


_RELATIONS = {"adapter": "adapter", "merged": "merge", "gguf": "quantized"}
_LIBRARIES = {"adapter": "peft", "merged": "transformers"}


def plain(said: str) -> str:
    """What a person wrote, on one line of Markdown, where it means nothing but itself."""
    flat = html.escape(" ".join(said.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", flat)


def _matter(values: Mapping[str, object]) -> str:
    lines = ["---"]
    for name, value in values.items():
        if isinstance(value, (list, tuple)):
            lines += [f"{name}:", *(f"- {one}" for one in value)]
        else:
            lines.append(f"{name}:{value}" if str(value).startswith("\n") else f"{name}: {value}")
    return "\n".join([*lines, "---"])


def _table(rows: Sequence[tuple[str, ...]], head: Sequence[str] = ("", "")) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows)])


def _layout(notes: Mapping[str, object]) -> str:
    told = (str(notes.get(name, "—")) for name in ("prompt_format", "think", "layout"))
    return " · ".join(f"`{one}`" for one in told)


def _recipe(recipe: Mapping[str, object]) -> list[tuple[str, str]]:
    if not recipe:
        return []
    told = " / ".join(str(recipe.get(name, "—")) for name in ("lora_r", "lora_alpha", "lora_dropout"))
    return [("rank / alpha / dropout", told), (text("recipe.seed"), str(recipe.get("seed", "—")))]


def _data(rows: Sequence[Row]) -> list[str]:
    voices = profile(rows, 5) if rows else ()
    if not voices:
        return []
    head = [text(f"publishing.card.{name}") for name in ("persona", "rows", "length", "phrases")]
    return [f"## {text('publishing.card.data')}", _table([_voice(voice) for voice in voices], head)]


def _voice(voice: Voice) -> tuple[str, ...]:
    low, middle, high = voice.quantiles
    phrases = "、".join(plain(one.text) for one in voice.catchphrases) or "—"
    return plain(voice.persona) or "—", str(voice.rows), f"{low} / {middle} / {high}", phrases


def _loss(plot: bool) -> list[str]:
    return [f"## {text('publishing.card.curve')}", f"![loss]({PLOT})"] if plot else []


def _scores(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    rows = [
        (
            text(f"metric.{name}"),
            f"{figure['base']:.3f}",
            f"{figure['adapter']:.3f}",
            f"{figure['low']:.3f} – {figure['high']:.3f}",
        )
        for name, figure in figures.items()
    ]
    head = [text("cli.metric"), text("cli.base"), text("cli.adapter_column"), text("cli.interval")]
    return [f"## {text('publishing.card.scores')}", _table(rows, head)] if rows else []


def _samples(samples: Sequence[tuple[str, str, str]]) -> list[str]:
    rows = [tuple(plain(said[:SAMPLE]) or "—" for said in one) for one in samples[:MOST_SAMPLES]]
    head = [text(f"publishing.card.{name}") for name in ("asked", "before", "after")]
    return [f"## {text('publishing.card.samples')}", _table(rows, head)] if rows else []


def _hex(value: object) -> str:
    return re.sub("[^0-9a-f]", "", str(value or "")) or "—"
