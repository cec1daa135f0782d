"""The machine around the packages: Python, cores, memory, disk, database, models, hub. Repairs nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import struct
import sys
import threading
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.doctor.check import Check, Speaker
from anime_ai.errors import AnimeAIError
from anime_ai.files import check_writable
from anime_ai.models.sources import source
from anime_ai.processes import usable_cpus, usable_memory

LEAST_PYTHON = (3, 10)
LEAST_MEMORY = 2 * 1024**3
LEAST_DISK = 2 * 1024**3
HUB = "https://huggingface.co"


def python(say: Speaker) -> Check:
    bits = struct.calcsize("P") * 8
    found = f"{platform.python_version()}, {bits}-bit, {platform.system()} {platform.machine()}"
    ok = sys.version_info >= LEAST_PYTHON and bits == 64
    return Check("python", ok, found, "" if ok else say("mend.python"))


def encoding(say: Speaker) -> Check:
    """Whether Chinese can be printed here. Files are always UTF-8."""
    named = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        "用户：傲娇——♥…".encode(named)
        return Check("encoding", True, named)
    except (UnicodeEncodeError, LookupError):
        return Check("encoding", False, named, say("mend.encoding"))


def cpus(say: Speaker) -> Check:
    return Check("cpu", True, say("cpus", usable=usable_cpus(), all=os.cpu_count() or 1))


def memory(say: Speaker) -> Check:
    usable = usable_memory()
    ok = usable >= LEAST_MEMORY
    mend = "" if ok else say("mend.memory", least=f"{LEAST_MEMORY / 1024**3:.0f}")
    return Check("memory", ok, say("memory", gib=f"{usable / 1024**3:.1f}"), mend)


def folders(settings: Settings, say: Speaker) -> list[Check]:
    """Whether OUTPUT_DIR can be written, and the space there. The folder itself is not made."""
    folder = settings.output_dir.absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        check_writable(there)
        writable = Check("output_dir", True, str(folder))
    except AnimeAIError as error:
        writable = Check("output_dir", False, str(folder), say.first_line(error))
    free = shutil.disk_usage(there).free
    mend = "" if free >= LEAST_DISK else say("mend.disk", least=f"{LEAST_DISK / 1024**3:.0f}", path=folder)
    return [writable, Check("disk", not mend, say("disk", gib=f"{free / 1024**3:.1f}"), mend)]


def database(settings: Settings, say: Speaker) -> Check:
    """Whether the database can be read; it is neither made nor migrated."""
    file = (settings.studio_dir / "studio.db").absolute()
    if not settings.database_url and not file.exists():
        return Check("database", True, say("database.new"))
    try:
        place = _read_server(settings.database_url) if settings.database_url else _read_file(file)
    except Exception as error:  # whatever a driver or a broken package raises
        return Check("database", False, say.first_line(error), say("mend.database"))
    return Check("database", True, say("database", place=place))


def _read_file(file: Path) -> str:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        connection.execute("SELECT count(*) FROM datasets").fetchone()
    return str(file)


def _read_server(url: str) -> str:
    from sqlalchemy import create_engine, make_url
    from sqlalchemy import text as sql

    parsed = make_url(url)
    engine = create_engine(parsed)
    try:
        with engine.connect() as connection:
            connection.execute(sql("SELECT 1"))
    finally:
        engine.dispose()
    return parsed.render_as_string(hide_password=True)


def starter(settings: Settings, say: Speaker) -> Check:
    """Whether the starter model's files are there and whole (a pointer left by git without LFS is not)."""
    try:
        from anime_ai.models.bases import STARTER, find_base

        millions = find_base(STARTER, settings).parameters() / 1e6
        return Check("starter", True, say("starter", millions=f"{millions:.1f}"))
    except Exception as error:
        return Check("starter", False, say.first_line(error), say("mend.starter"))


def base_model(settings: Settings, say: Speaker) -> Check:
    """Which model MODEL_NAME stands for here. A named model is never replaced by another."""
    try:
        from anime_ai.models.bases import DEFAULT, find_base

        base = find_base(settings.model_name, settings)
    except Exception as error:
        mend = (
            say("mend.starter")
            if settings.model_name in ("auto", "starter")
            else say("mend.base", model=settings.model_name)
        )
        return Check("base_model", False, say.first_line(error), mend)
    if base.starter and settings.model_name == "auto":
        return Check("base_model", True, say("base.starter", model=DEFAULT), say("mend.base", model=DEFAULT))
    return Check("base_model", True, say("base.present", model=base.id))


def hub(settings: Settings, say: Speaker) -> Check:
    """Whether what models are fetched from answers within HUB_TIMEOUT. Nothing but downloads needs it."""
    # The Hub's own library may be what is broken here: its address is read without it.
    named = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    endpoint = named if settings.hub == "hub" else source(settings).endpoint
    answer: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "anime-ai-studio"})
            with urllib.request.urlopen(request, timeout=settings.hub_timeout):
                answer.append("")
        except urllib.error.HTTPError:
            answer.append("")  # it answered
        except (OSError, ValueError, HTTPException) as error:
            answer.append(str(getattr(error, "reason", error)))

    # A name server that does not answer holds no timeout: the thread is left behind, not waited for.
    asking = threading.Thread(target=ask, daemon=True, name="doctor-hub")
    asking.start()
    asking.join(settings.hub_timeout)
    if answer and not answer[0]:
        return Check("hub", True, say("hub", endpoint=endpoint))
    why = answer[0] if answer else f"> {settings.hub_timeout:g} s"
    return Check("hub", True, say("hub.unreachable", endpoint=endpoint, why=why), say("mend.hub"))
