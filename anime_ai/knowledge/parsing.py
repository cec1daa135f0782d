"""Files to blocks of text, in a child process with limits. Knows no chunks and no database.

    python -m anime_ai.knowledge.parsing FILE NAME TARGET

A stranger's file may be a bomb or send its parser in circles, so a process of its own reads it, with a limit on its
memory, its time, its pages and its text, and writes the blocks to TARGET, or why there are none.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import posixpath
import re
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

from anime_ai import processes
from anime_ai.encodings import decode
from anime_ai.errors import KnowledgeError
from anime_ai.files import read_json, write_json
from anime_ai.knowledge.chunks import MOST, Block

SECONDS = 90
MEMORY = 2 * 2**30
MOST_PAGES = 2_000
MOST_CHARACTERS = 5_000_000
MOST_BLOCKS = 20_000
MOST_ENTRIES = 5_000
MOST_UNPACKED = 200 * 2**20
"""Of an archive: files in it, and bytes when all are unpacked."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
log = logging.getLogger("anime_ai.knowledge")
READERS: dict[str, Callable[[bytes], Iterator[Block]]] = {}
"""What reads a file, by the end of its name."""


def parse(path: Path, name: str, scratch: Path, stop: Event | None = None, seconds: float = SECONDS) -> list[Block]:
    """The blocks of the file at `path`, whose name says what it is. Raises KnowledgeError that says why there are none.

    `scratch`: a folder for what the child writes. Setting `stop` ends it within a tenth of a second with the key
    "knowledge.stopped".
    """
    known(name)
    target, text = scratch / f"{uuid.uuid4().hex}.json", scratch / f"{uuid.uuid4().hex}.log"
    child = processes.start_module(__name__, [str(path.resolve()), name, str(target.resolve())], text)
    end = time.monotonic() + seconds
    try:
        while processes.is_alive(child):
            if stop is not None and stop.is_set():
                raise KnowledgeError("knowledge.stopped")
            if time.monotonic() > end:
                raise KnowledgeError("knowledge.too_slow", seconds=round(seconds))
            time.sleep(0.02)
    finally:
        processes.kill_tree(child, grace_s=0)
    told = read_json(target)
    if not isinstance(told, dict):
        with suppress(OSError):
            log.warning("%s was not read: %s", name, text.read_text(encoding="utf-8", errors="replace")[-2000:])
        raise KnowledgeError("knowledge.crashed")
    if "error" in told:
        raise KnowledgeError(told["error"], **told["values"])
    return [Block(**block) for block in told["blocks"]]


def known(name: str) -> str:
    """The end of a file's name, where something reads such files. Raises KnowledgeError that lists what is read."""
    end = Path(name).suffix.lower()
    if end not in READERS:
        raise KnowledgeError("knowledge.kind", known=" ".join(sorted(READERS)))
    return end


def read(content: bytes, name: str) -> list[Block]:
    """The blocks of a file's content, in this process and without limits of time and memory. Raises KnowledgeError."""
    blocks = list(_bounded(READERS[known(name)](content)))
    if not any(block.kind != "heading" for block in blocks):
        raise KnowledgeError("knowledge.no_text")
    return blocks


def _bounded(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks that have a text. Raises KnowledgeError where there are too many of them, or too much text."""
    length = number = 0
    for block in blocks:
        text = _UNSTORABLE.sub("\ufffd", block.text).strip()
        length, number = length + len(text), number + bool(text)
        if length > MOST_CHARACTERS or number > MOST_BLOCKS:
            raise KnowledgeError("knowledge.too_long", most=MOST_CHARACTERS, blocks=MOST_BLOCKS)
        if text:
            yield Block(block.kind, text, block.level, block.page)


def _gathered(lines: Iterable[str]) -> Iterator[Block]:
    """Short records several to a block, so that a table of many rows is not as many chunks."""
    part: list[str] = []
    for line in lines:
        if part and sum(map(len, part)) + len(line) > MOST:
            yield Block("table", "\n".join(part))
            part = []
        part.append(line)
    yield Block("table", "\n".join(part))


def _reads(*ends: str) -> Callable[[Any], Any]:
    def note(reader: Any) -> Any:
        READERS.update(dict.fromkeys(ends, reader))
        return reader

    return note


@_reads(".txt", ".text", ".log")
def _plain(content: bytes) -> Iterator[Block]:
    for paragraph in decoded(content).split("\n\n"):
        yield Block("text", paragraph)


@_reads(".md", ".markdown")
def _markdown(content: bytes) -> Iterator[Block]:
    from markdown_it import MarkdownIt

    text = decoded(content)
    if text.startswith("---\n") and (end := text.find("\n---\n", 3)) > 0:  # front matter
        text = text[end + 5 :]
    lines = text.split("\n")
    kinds = {"table_open": "table", "fence": "code", "code_block": "code"}
    found = MarkdownIt("commonmark").enable("table").parse(text)
    for token, after in zip(found, [*found[1:], None], strict=False):
        if token.map is None or token.level:
            continue
        stretch = "\n".join(lines[token.map[0] : token.map[1]])
        if token.type == "heading_open":
            yield Block("heading", after.content if after else "", int(token.tag[1]))
        elif token.type == "html_block":
            yield from _page(stretch)
        elif token.type.endswith("_open") or token.type in kinds:
            yield Block(kinds.get(token.type, "text"), stretch)


@_reads(".html", ".htm", ".xhtml")
def _html(content: bytes) -> Iterator[Block]:
    yield from _page(decoded(content))


def _page(text: str) -> Iterator[Block]:
    from bs4 import BeautifulSoup

    yield from _elements(BeautifulSoup(text, "lxml"))


def _elements(soup: Any) -> Iterator[Block]:
    """What is read of a page, in its order; what is inside of a block is a part of it."""
    for gone in soup(["script", "style", "nav", "template", "noscript", "svg", "head"]):
        gone.decompose()
    for element in soup.find_all([*_TOLD, *_AROUND]):
        if element.find_parent(["table", "pre"]):
            continue
        if element.name == "table":
            rows = [[cell.get_text(" ", strip=True) for cell in row(["th", "td"])] for row in element("tr")]
            yield Block("table", "\n".join(" | ".join(row) for row in rows if any(row)))
        elif element.name == "pre":
            yield Block("code", element.get_text())
        elif element.name[0] == "h" and element.name[1:].isdigit():
            yield Block("heading", " ".join(element.get_text().split()), int(element.name[1:]))
        else:
            yield Block("text", " ".join(_own_text(element).split()))


_TOLD = ("h1", "h2", "h3", "h4", "h5", "h6", "p", "li", "table", "pre", "blockquote", "dd", "dt", "figcaption")
_AROUND = ("html", "body", "div", "section", "article", "main", "aside", "header", "footer", "ul", "ol", "dl", "figure")


def _own_text(element: Any) -> str:
    """The text of an element without that of the blocks inside of it."""
    from bs4.element import PreformattedString

    if isinstance(element, str):
        return "" if isinstance(element, PreformattedString) else element  # comments and the like
    inside = (child for child in element.children if getattr(child, "name", None) not in (*_TOLD, *_AROUND))
    return "".join(_own_text(child) for child in inside)


@_reads(".docx")
def _docx(content: bytes) -> Iterator[Block]:
    import mammoth
    from bs4 import BeautifulSoup

    _checked(content)
    nothing = mammoth.images.img_element(lambda image: {})
    html = mammoth.convert_to_html(io.BytesIO(content), convert_image=nothing, external_file_access=False).value
    yield from _elements(BeautifulSoup(html, "lxml"))


@_reads(".epub")
def _epub(content: bytes) -> Iterator[Block]:
    """The chapters in the order of the book's spine (EPUB 3.3, https://www.w3.org/TR/epub-33/)."""
    from bs4 import BeautifulSoup

    archive = _checked(content)
    try:
        container = BeautifulSoup(archive.read("META-INF/container.xml"), "xml")
        package_path = str(container.find_all("rootfile")[0]["full-path"])
        package = BeautifulSoup(archive.read(package_path), "xml")
        files = {str(item["id"]): unquote(str(item["href"])) for item in package.find_all("item")}
        chapters = [files[str(one["idref"])].split("#")[0] for one in package.find_all("itemref")]
        if len(chapters) > MOST_PAGES:
            raise KnowledgeError("knowledge.too_many_pages", pages=len(chapters), most=MOST_PAGES)
        folder = posixpath.dirname(package_path)
        for number, chapter in enumerate(chapters, 1):
            for block in _html(archive.read(posixpath.normpath(posixpath.join(folder, chapter)))):
                yield Block(block.kind, block.text, block.level, number)
    except (KeyError, IndexError) as error:
        raise KnowledgeError("knowledge.broken", why=error) from error


@_reads(".pdf")
def _pdf(content: bytes) -> Iterator[Block]:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        key = "knowledge.encrypted" if "password" in str(error).lower() else "knowledge.broken"
        raise KnowledgeError(key, why=error) from error
    if len(document) > MOST_PAGES:
        raise KnowledgeError("knowledge.too_many_pages", pages=len(document), most=MOST_PAGES)
    for number, page in enumerate(document, 1):
        text = page.get_textpage().get_text_bounded()
        yield from (Block("text", paragraph, page=number) for paragraph in _reflowed(text))


def _reflowed(text: str) -> list[str]:
    """Paragraphs of a page whose lines were broken to fit the paper: a line that is shorter than most and ends a
    sentence ends its paragraph. Chinese lines join without a space."""
    lines = [line.strip() for line in text.replace("\r", "").split("\n")]
    longest = max(map(len, lines), default=0)
    paragraphs = [""]
    for line in lines:
        before = paragraphs[-1]
        gap = " " if before and before[-1:].isascii() and line[:1].isascii() else ""
        paragraphs[-1] = before + gap + line
        if not line or (line[-1] in "。！？!?.…：:”」" and len(line) < 0.85 * longest):
            paragraphs.append("")
    return [paragraph for paragraph in paragraphs if paragraph]


@_reads(".csv", ".tsv")
def _csv(content: bytes) -> Iterator[Block]:
    """A row a line, every cell behind the name of its column."""
    text = decoded(content)
    csv.field_size_limit(MOST_CHARACTERS)
    first = text.split("\n", 1)[0]
    mark = max(",\t;|", key=first.count)
    try:
        rows = csv.DictReader(io.StringIO(text), delimiter=mark, restkey="", restval="")
        yield from _gathered(
            "；".join(f"{name}：{cell}" for name, cell in row.items() if name and cell) for row in rows
        )
    except csv.Error as error:
        raise KnowledgeError("knowledge.broken", why=error) from error


@_reads(".json", ".jsonl")
def _json(content: bytes) -> Iterator[Block]:
    """The fields of every object by name; a lorebook entry by entry."""
    text = decoded(content)
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = [json.loads(line) for line in text.split("\n") if line.strip()]
        except ValueError as error:
            raise KnowledgeError("knowledge.broken", why=error) from error
    except RecursionError as error:
        raise KnowledgeError("knowledge.broken", why="RecursionError") from error
    entries = _lore(value)
    if entries is None:
        yield from _gathered(line for line in _told(value) if line)
    for name, keys, said in entries or ():
        yield Block("heading", name or keys.partition("、")[0] or "…", 1)
        yield Block("text", f"{keys}\n{said}" if keys else said)


def _lore(value: Any) -> list[tuple[str, str, str]] | None:
    """Name, keys and text of a lorebook's entries that are switched on; None where `value` is no lorebook.

    A lorebook or a card as character-card-spec-v3 has them, or a world of SillyTavern.
    """
    her = "她"
    for inside in ("data", "character_book"):
        if isinstance(value, dict) and isinstance(value.get(inside), dict):
            her = str(value[inside].get("name") or her) if inside == "data" else her
            value = value[inside]
    entries = value.get("entries") if isinstance(value, dict) else None
    entries = list(entries.values()) if isinstance(entries, dict) else entries
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "content" in one for one in entries):
        return None
    found = []
    for one in entries:
        if one.get("enabled", True) and not one.get("disable"):
            keys = one.get("keys", one.get("key")) or []
            said = str(one["content"]).replace("{{char}}", her).replace("{{user}}", "你")
            name = str(one.get("name") or one.get("comment") or "")
            found.append((name, "、".join(map(str, keys)) if isinstance(keys, list) else str(keys), said))
    return found


def _told(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        plain = {name: one for name, one in value.items() if isinstance(one, (str, int, float)) and one is not False}
        yield "；".join(f"{name}：{one}" for name, one in plain.items() if one != "")
        rest: Iterable[Any] = (one for one in value.values() if isinstance(one, (Mapping, list)))
    elif isinstance(value, list):
        plain_list = [str(one) for one in value if isinstance(one, (str, int, float))]
        yield from plain_list
        rest = (one for one in value if isinstance(one, (Mapping, list)))
    else:
        yield str(value)
        rest = ()
    for one in rest:
        yield from _told(one)


def subtitle_lines(text: str, kind: str) -> list[tuple[int, str, str]]:
    """Time in milliseconds, speaker ("" where the format names none) and text of every line that is shown.

    `kind`: "srt", "ass", "ssa" or "vtt". Raises KnowledgeError for what is not of this kind.
    """
    import pysubs2

    try:
        lines = [line for line in pysubs2.SSAFile.from_string(text, kind) if not line.is_comment]
    except (pysubs2.exceptions.Pysubs2Error, ValueError) as error:
        raise KnowledgeError("knowledge.broken", why=error) from error
    return [(line.start, line.name, " ".join(line.plaintext.split())) for line in lines]


def _subtitles(content: bytes, kind: str) -> Iterator[Block]:
    """Ten lines a block, behind the time of the first; who speaks is named where the format knows."""
    lines = subtitle_lines(decoded(content), kind)
    for first in range(0, len(lines), 10):
        part = lines[first : first + 10]
        minutes, seconds = divmod(part[0][0] // 1000, 60)
        yield Block(
            "text",
            f"[{minutes:02}:{seconds:02}] " + "\n".join(f"{name}：{said}" if name else said for _, name, said in part),
        )


READERS.update({f".{kind}": partial(_subtitles, kind=kind) for kind in ("srt", "ass", "ssa", "vtt")})


def decoded(content: bytes) -> str:
    """Text in what `anime_ai.encodings` finds it to be in. Raises KnowledgeError for what is no text."""
    try:
        text = decode(content).text
    except UnicodeDecodeError as error:
        raise KnowledgeError("knowledge.not_text") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _checked(content: bytes) -> zipfile.ZipFile:
    """An archive of XML that is no bomb and declares no entities. Raises KnowledgeError."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise KnowledgeError("knowledge.broken", why=error) from error
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES or size > MOST_UNPACKED:
        raise KnowledgeError("knowledge.bomb", entries=len(entries), megabytes=size // 2**20)
    for entry in entries:
        if entry.filename.lower().endswith((".xml", ".rels", ".opf", ".ncx", ".xhtml", ".html")):
            with archive.open(entry) as file:
                content = file.read()
                if any("<!ENTITY".encode(encoding) in content for encoding in ("utf-8", "utf-16-le", "utf-16-be")):
                    raise KnowledgeError("knowledge.entities", entry=entry.filename[:80])
    return archive


def _limit() -> None:
    """Limits of the operating system on this process; where it has none (Windows), the parent's clock is left."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def main(path: Path, name: str, target: Path) -> None:
    _limit()
    processes.lower_priority()
    try:
        told: dict[str, Any] = {"blocks": [vars(block) for block in read(path.read_bytes(), name)]}
    except KnowledgeError as error:
        told = {"error": error.key, "values": {key: str(value)[:300] for key, value in error.values.items()}}
    except MemoryError:
        told = {"error": "knowledge.too_large", "values": {"megabytes": MEMORY // 2**20}}
    except Exception as error:  # a stranger's file may make a parser raise anything
        told = {"error": "knowledge.broken", "values": {"why": f"{type(error).__name__}: {error}"[:300]}}
    write_json(target, told)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
