"""One finding of the doctor, and the language that it is told in."""

from __future__ import annotations

from dataclasses import dataclass

from anime_ai.errors import AnimeAIError
from anime_ai.texts import text


@dataclass(frozen=True)
class Check:
    """One finding. `mend` says what to do; a check that is `ok` may still have one, as advice."""

    name: str
    ok: bool
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Speaker:
    """The doctor's texts in one language."""

    language: str | None

    def __call__(self, key: str, **values: object) -> str:
        return text(f"doctor.{key}", self.language, **values)

    def first_line(self, error: Exception) -> str:
        said = error.say(self.language) if isinstance(error, AnimeAIError) else str(error)
        return (said.strip() or type(error).__name__).splitlines()[0]
