"""How a person wants each persona's answers to be drawn: presets, knobs, their bounds, what is kept. Knows no page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from anime_ai.errors import SettingsError
from anime_ai.models.engine import Sampling
from anime_ai.storage import Database, SamplingRecord


@dataclass(frozen=True)
class Knob:
    """The bounds of one setting as a page offers it; `step` None where it is written as text."""

    least: float = 0
    most: float = 0
    step: float | None = None

    @staticmethod
    def shown(value: Any) -> Any:
        """A value as a field shows it."""
        return "".join(value).replace("\n", "\\n") if isinstance(value, tuple) else value


KNOBS: dict[str, Knob] = {
    "temperature": Knob(0, 2, 0.05),
    "top_p": Knob(0.05, 1, 0.05),
    "top_k": Knob(0, 200, 1),
    "min_p": Knob(0, 0.5, 0.01),
    "repetition_penalty": Knob(1, 2, 0.05),
    "dry_multiplier": Knob(0, 5, 0.1),
    "dry_base": Knob(1, 4, 0.05),
    "dry_allowed_length": Knob(1, 20, 1),
    "dry_breakers": Knob(),
    "max_new_tokens": Knob(8, 4096, 8),
    "seed": Knob(),
}
WHOLE = ("top_k", "dry_allowed_length", "max_new_tokens")
MOST_SEED = 2**32 - 1

PRESETS: dict[str, Sampling] = {
    "steady": Sampling(temperature=0.3, top_p=0.9, repetition_penalty=1.05),
    "standard": Sampling(),
    "wild": Sampling(temperature=1.0, top_p=1.0, min_p=0.05, repetition_penalty=1.05, dry_multiplier=0.8),
}
"""steady and standard within what the authors of DeepSeek-R1 advise (0.5–0.7, top-p 0.95) or calmer; wild leaves the
choice to min-p (Nguyen et al. 2024), which scales with how sure the model is, and keeps loops off with DRY."""


class Samplings:
    """What each person keeps for each persona."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, person: str, persona: str) -> Sampling:
        """What was kept; the standard where nothing was, or where it cannot be used any more."""
        with self._database.reading() as session:
            record = session.get(SamplingRecord, (person, persona[:300]))
            told = dict(record.told) if record else {}
        try:
            return sampling_of({**_told(Sampling()), **told})
        except SettingsError:
            return Sampling()

    def keep(self, person: str, persona: str, sampling: Sampling) -> None:
        with self._database.session() as session:
            record = session.get(SamplingRecord, (person, persona[:300]))
            if record is None:
                record = SamplingRecord(person=person, persona=persona[:300])
                session.add(record)
            record.told = _told(sampling)


def _told(sampling: Sampling) -> dict[str, Any]:
    """The knobs' values as JSON takes them and `sampling_of` reads them."""
    return {name: Knob.shown(getattr(sampling, name)) for name in KNOBS}


def preset_of(sampling: Sampling) -> str | None:
    """The preset that a sampling is but for its seed and its length; None where it is none."""
    own: dict[str, Any] = {"seed": None, "max_new_tokens": Sampling().max_new_tokens}
    plain = replace(sampling, **own)
    return next((name for name, one in PRESETS.items() if replace(one, **own) == plain), None)


def sampling_of(values: Mapping[str, Any]) -> Sampling:
    """Checked sampling settings. Raises SettingsError that names the field: a form's bounds bind no HTTP client."""
    read: dict[str, Any] = {}
    for name, knob in KNOBS.items():
        value = values[name]
        if knob.step is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not knob.least <= value <= knob.most:
            raise SettingsError("settings.bounds", name=name, value=value, least=knob.least, most=knob.most)
        read[name] = int(value) if name in WHOLE else float(value)
    marks = str(values["dry_breakers"] or "").replace("\\n", "\n")
    read["dry_breakers"] = tuple(dict.fromkeys(marks))[:80]
    wanted = str(values["seed"] if values["seed"] is not None else "").strip()
    # Python makes no number of thousands of digits.
    short = wanted.isascii() and wanted.isdigit() and len(wanted) <= len(str(MOST_SEED))
    if wanted and not (short and int(wanted) <= MOST_SEED):
        raise SettingsError("settings.bounds", name="seed", value=wanted[:40], least=0, most=MOST_SEED)
    return Sampling(**read, seed=int(wanted) if wanted else None)


def as_meta(sampling: Sampling) -> dict[str, Any]:
    """What a message keeps of how it was drawn: the settings that are not the standard ones."""
    standard = vars(Sampling())
    return {name: value for name, value in vars(sampling).items() if value != standard[name]}
