"""The model card of a trained adapter. Knows only what it is told."""

from __future__ import annotations

from collections.abc import Mapping

from anime_ai.training.recipe import Recipe


def model_card(notes: Mapping[str, object], recipe: Recipe) -> str:
    """Markdown with the Hub's front matter; no local path stands in it."""
    lines = [
        "---",
        f"base_model: {notes['base']}",
        "library_name: peft",
        "language: zh",
        "tags: [lora, anime, roleplay]",
        "---",
        "",
        f"# {notes['persona']}",
        "",
        f"LoRA adapter for `{notes['base']}`, made with Anime AI Studio {notes['version']}.",
        "",
        f"- prompt format `{notes['prompt_format']}`, think policy `{notes['think']}`, layout `{notes['layout']}`",
        f"- system line: {notes['system_line']}",
        f"- {notes['rows']} rows, {notes['steps']} of {notes['of_steps']} steps, rate {notes['learning_rate']}, "
        f"{notes['precision']}",
        f"- rank {recipe.lora_r}, alpha {recipe.lora_alpha}, dropout {recipe.lora_dropout}, seed {recipe.seed}",
        f"- dataset SHA-256 `{notes['dataset_sha256']}`",
        "",
        "The base model's licence applies to what the two of them say together.",
        "",
    ]
    return "\n".join(lines)
