"""The catalogues against each other and against the source that uses them."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from anime_ai.errors import AnimeAIError, DatasetError
from anime_ai.texts import LANGUAGES, catalogue, pick_language, text

LIBRARY = Path(__file__).parent.parent / "anime_ai"
TEXTS = LIBRARY / "texts"
ROOMS = sorted(file.name.partition(".")[0] for file in TEXTS.glob("*.zh.json"))
MARK = re.compile(r"@@([A-Za-z0-9_.]+)@@")


def placeholders(line: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(line) if name is not None}


@dataclass(frozen=True)
class Use:
    """A call that names a text: its key or, put together, a pattern of it; the values given, None where unknown."""

    where: str
    key: str
    pattern: bool
    values: frozenset[str] | None


class Source(ast.NodeVisitor):
    """The texts that a module asks for, and the words (strings and field names) that a key may be put together from."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.uses: list[Use] = []
        self.words: set[str] = set()
        self.patterns: set[str] = set()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        # SQLAlchemy has a `text` of its own.
        self.asking = {
            alias.asname or alias.name
            for node in imports
            for alias in node.names
            if (node.module, alias.name) in (("anime_ai.texts", "text"), ("anime_ai.ui.labels", "label"))
        }
        self.visit(tree)

    def visit_Call(self, node: ast.Call) -> None:
        prefix = self._prefix(node.func)
        if prefix is not None and node.args:
            given = node.keywords
            known = not any(keyword.arg is None for keyword in given)
            values = frozenset(keyword.arg or "" for keyword in given) if known else None
            for first in self._choices(node.args[0]):
                key, pattern = self._key(first)
                if key:
                    self.uses.append(Use(f"{self.file.name}:{node.lineno}", prefix + key, pattern, values))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, (str, int)):
            self.words.add(str(node.value))
            self.words.update(MARK.findall(str(node.value)))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.words.add(node.target.id)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.words.add(node.arg or "")
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.patterns.add(self._key(node)[0])
        self.generic_visit(node)

    def _prefix(self, called: ast.expr) -> str | None:
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        if name in self.asking and isinstance(called, ast.Name):
            return ""
        if name == "say" and self.file.parent.name == "doctor":
            return "doctor."
        return "error." if name in ERRORS else None

    @staticmethod
    def _choices(node: ast.expr) -> Iterator[ast.expr]:
        if isinstance(node, ast.IfExp):
            yield from Source._choices(node.body)
            yield from Source._choices(node.orelse)
        else:
            yield node

    @staticmethod
    def _key(node: ast.expr) -> tuple[str, bool]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value, False
        if isinstance(node, ast.JoinedStr):
            parts = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else "(.+)" for part in node.values)
            return "".join(parts), True
        return "", False


def error_names() -> set[str]:
    """The error classes, and those that other modules derive from them."""
    names = {AnimeAIError.__name__}
    while True:
        before = len(names)
        for file in FILES:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") in names for base in node.bases):
                    names.add(node.name)
        if len(names) == before:
            return names


FILES = sorted([*LIBRARY.rglob("*.py"), LIBRARY.parent / "app.py"])
FILES = [file for file in FILES if file.exists()]
ERRORS = error_names()
SOURCES = [Source(file) for file in FILES]
USES = [use for source in SOURCES for use in source.uses]


@pytest.mark.parametrize("room", ROOMS)
def test_languages_have_the_same_keys_and_placeholders(room: str) -> None:
    one, *others = (json.loads((TEXTS / f"{room}.{name}.json").read_text(encoding="utf-8")) for name in LANGUAGES)
    for other in others:
        assert list(one) == list(other), "the same keys in the same order"
        assert {key: placeholders(line) for key, line in one.items()} == {
            key: placeholders(line) for key, line in other.items()
        }
    assert all(line.strip() for line in one.values())


def test_every_room_has_every_language_and_no_key_stands_twice() -> None:
    assert {file.name for file in TEXTS.glob("*.json")} == {
        f"{room}.{name}.json" for room in ROOMS for name in LANGUAGES
    }
    for name in LANGUAGES:
        pairs = [
            key
            for room in ROOMS
            for key, _ in json.loads(
                (TEXTS / f"{room}.{name}.json").read_text(encoding="utf-8"), object_pairs_hook=lambda found: found
            )
        ]
        assert len(pairs) == len(set(pairs))


def test_every_text_that_is_asked_for_exists() -> None:
    known = catalogue("zh")
    missing = [
        f"{use.where} {use.key}"
        for use in USES
        if not (any(re.fullmatch(use.key, key) for key in known) if use.pattern else use.key in known)
    ]
    written = {word for source in SOURCES for word in source.words if re.fullmatch(r"(ui|cli)(\.[a-z0-9_]+)+", word)}
    missing += sorted(word for word in written if not {word, f"error.{word}", f"notice.{word}"} & known.keys())
    assert missing == []
    assert len(USES) > 50, "the source was not read"


def test_every_placeholder_is_given_a_value() -> None:
    lacking = []
    for use in USES:
        if use.values is not None and not use.pattern and use.key in catalogue("zh"):
            wanted = placeholders(catalogue("zh")[use.key]) - use.values
            if wanted:
                lacking.append(f"{use.where} {use.key} lacks {sorted(wanted)}")
    assert lacking == []


def test_no_text_is_left_over() -> None:
    words = {word for source in SOURCES for word in source.words}
    patterns = {pattern for source in SOURCES for pattern in source.patterns if re.match(r"[a-z]+\\\.", pattern)}

    def used(key: str) -> bool:
        if key in words:
            return True
        found = (re.fullmatch(pattern, key) for pattern in patterns)
        return any(match and all(part in words for part in match.groups()) for match in found)

    assert [key for key in catalogue("zh") if not used(key)] == []


NAMED = {
    "ui.row.rejected": (
        *("ui.import.field.rejected", "error.dataset.no_pairs", "recipe.method.help", "error.training.no_pairs"),
        *("problem.other_question", "dataset.note.rows_left_out"),
    ),
    "ui.tab.personas": ("ui.publish.about.bundle",),
    "recipe.base": ("ui.setting.model_name",),
}
"""Texts that name a field or a tab, by its label."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_field_has_one_name(language: str) -> None:
    said = catalogue(language)
    named = ((label, key) for label, keys in NAMED.items() for key in keys)
    assert [key for label, key in named if said[label].casefold() not in said[key].casefold()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_promises_what_does_not_hold(language: str) -> None:
    said = catalogue(language)
    assert not re.search("两分钟|two minutes|2 ?分", said["ui.walk.3"] + said["ui.training.empty"])
    assert "ANIME_AI_VISITOR_UPLOAD_MB" in said["ui.refused.upload"], "the limit of visitors is another one"
    for key in ("error.publishing.stopped", "error.publishing.failed"):
        assert re.search("空仓库|empty repository|空のリポジトリ", said[key]), "it may have been made by then"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("en-GB,en;q=0.9", "en"),
        ("ja,en;q=0.5,zh;q=0.8", "ja"),
        ("ko,en;q=0.5,zh;q=0.8", "zh"),
        ("fr", "zh"),
        ("en;q=broken, zh-TW", "zh"),
    ],
)
def test_the_language_of_a_browser(accept: str | None, language: str) -> None:
    assert pick_language(accept) == language


def test_an_error_speaks_every_language_and_repeats_braces_as_they_are() -> None:
    error = DatasetError("storage.write", path="{path}", why="<why>")
    assert "{path}" in error.say("zh")
    assert len({error.say(language) for language in LANGUAGES}) == len(LANGUAGES)
    assert text("error.storage.write", "en", path="a", why="b").startswith("Cannot write a")
