"""The errors that a user can act on.

Every error carries the key of a text in `anime_ai.texts` and the values that fill it, so that the command line, the
page and a run's status file can each say it in their reader's language. Knows nothing of who shows it.
"""

from __future__ import annotations

from typing import Any

from anime_ai.texts import text


class AnimeAIError(Exception):
    """Something a user can mend. `key` is looked up under "error." in the catalogue; `values` fill its placeholders."""

    def __init__(self, key: str, **values: Any) -> None:
        super().__init__(key)
        self.key = key
        self.values = values

    def say(self, language: str | None = None) -> str:
        """The message in `language` (one of `anime_ai.texts.LANGUAGES`), by default the language of the process.

        Values with a `say` of their own, such as another error, say it in the same language."""
        values = {name: value.say(language) if hasattr(value, "say") else value for name, value in self.values.items()}
        return text(f"error.{self.key}", language, **values)

    def __str__(self) -> str:
        return self.say()


class SettingsError(AnimeAIError):
    """A setting or a recipe value that makes no sense."""


class StorageError(AnimeAIError):
    """The database, a file or a folder cannot be read or written."""


class DatasetError(AnimeAIError):
    """A dataset or one of its rows cannot be used."""


class PromptError(AnimeAIError):
    """A prompt layout and a tokenizer do not fit, or the training contract is broken."""


class ModelError(AnimeAIError):
    """A base model or an adapter cannot be found, loaded or run."""


class TrainingError(AnimeAIError):
    """A run cannot start, go on or be read."""


class PersonaError(AnimeAIError):
    """A character card is missing or broken."""


class KnowledgeError(AnimeAIError):
    """A document cannot be read, or is not there."""


class VisionError(AnimeAIError):
    """A picture or a model that looks at pictures."""


class ChatFileError(AnimeAIError):
    """A file of a conversation cannot be used."""


class AccessError(AnimeAIError):
    """A person asked for what their role does not allow."""


class PublishError(AnimeAIError):
    """Something cannot be published, or what was published elsewhere cannot be taken in."""
