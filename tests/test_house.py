"""The rules that hold the house together: what may import what, what ships, and what the documents claim."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "anime_ai"
MODULES = sorted(LIBRARY.rglob("*.py"))
RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
HEAVY = RUFF["flake8-tidy-imports"]["banned-module-level-imports"]
MOST_BYTES = 10 * 1000**2
"""What a Space takes without LFS."""

LEVELS = (
    {"__init__", "texts", "errors"},
    {"config", "encodings", "files", "processes", "storage", "tables", "migrations"},
    {"prompting", "models"},
    {"persona", "knowledge", "vision", "dataset"},
    {"chat", "training", "publishing", "serving"},
    {"studio", "doctor"},
    {"cli", "cli_dataset", "cli_model", "cli_persona", "cli_publish", "cli_shared", "ui"},
    {"__main__"},
)
"""Rooms from below to above. A room may use its own level and those below."""

ALONE = "starter"
"""How what is embedded is made, its adapters by the project's own trainer: no room uses it."""

READMES = ("README.md", "README.en.md")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """The room of a dotted module name."""
    return name.split(".")[1] if "." in name else "__init__"


def level_of(room: str) -> int:
    return next(level for level, rooms in enumerate(LEVELS) if room in rooms)


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "anime_ai":
                yield from (f"anime_ai.{alias.name}" for alias in node.names if alias.name != "__version__")
            else:
                yield node.module


def is_room_of_a_library(file: Path) -> bool:
    """Whether pyproject.toml lets the file import heavy libraries or Gradio when it is loaded."""
    path = file.relative_to(ROOT).as_posix()
    ignored = [rules for pattern, rules in RUFF["per-file-ignores"].items() if fnmatch(path, pattern)]
    return any({"TID253", "TID251"} & {*rules} for rules in ignored)


def test_light_modules_load_no_heavy_library() -> None:
    light = [module_name(file) for file in MODULES if not is_room_of_a_library(file)]
    light = [name for name in light if not name.startswith("anime_ai.migrations")]  # run by alembic alone
    light = [name for name in light if name not in ("anime_ai.__main__", "anime_ai.doctor.probe")]  # programs
    assert len(light) > 20, "the modules were not found"
    code = f"""
import importlib, json, sys
for name in {light}:
    importlib.import_module(name)
    loaded = [heavy for heavy in {[*HEAVY, "gradio", "alembic"]} if heavy in sys.modules]
    if loaded:
        sys.exit(name + " loads " + ", ".join(loaded))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_no_library_reports_home() -> None:
    """TRL pings the Hub at every training, Gradio at every start, unless it is told not to before it is imported."""
    code = """
import anime_ai
import huggingface_hub.constants
import gradio.analytics
assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY, "set HF_HUB_DISABLE_TELEMETRY in anime_ai/__init__.py"
assert not gradio.analytics.analytics_enabled(), "set GRADIO_ANALYTICS_ENABLED in anime_ai/__init__.py"
"""
    ours = (
        "HF_HUB_DISABLE_TELEMETRY",
        "DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
        "GRADIO_ANALYTICS_ENABLED",
        "HF_HUB_OFFLINE",
    )
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def test_rooms_use_only_what_is_below_them() -> None:
    wrong = []
    for file in MODULES:
        name = module_name(file)
        for used in imported(file):
            if used.split(".")[0] != "anime_ai" or room_of(used) == room_of(name):
                continue
            upward = level_of("training") if room_of(name) == ALONE else level_of(room_of(name))
            if room_of(used) == ALONE or level_of(room_of(used)) > upward:
                wrong.append(f"{name} uses {used}")
    assert wrong == []


def test_tabs_do_not_know_each_other() -> None:
    tabs = [file for file in MODULES if file.stem.endswith("_tab")]
    assert len(tabs) >= 3
    wrong = [f"{file.stem} uses {used}" for file in tabs for used in imported(file) if used.endswith("_tab")]
    assert wrong == []


def test_only_the_page_knows_gradio() -> None:
    outside = [file for file in MODULES if "ui" not in file.relative_to(LIBRARY).parts]
    assert [
        module_name(file) for file in outside if any(used.split(".")[0] == "gradio" for used in imported(file))
    ] == []


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(LIBRARY).as_posix())
def test_a_module_says_what_it_is_and_stays_readable(file: Path) -> None:
    content = file.read_text(encoding="utf-8")
    tree = ast.parse(content)
    assert ast.get_docstring(tree) or not content.strip(), "no docstring"
    assert len(content.splitlines()) <= 500, "too long: split it by noun"


def tracked() -> list[Path]:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False, timeout=60)
    except OSError:
        pytest.skip("there is no git here")
    if done.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [file for file in files if file.is_file()]


def test_no_file_is_too_large_for_a_space() -> None:
    files = tracked()
    assert ROOT / "pyproject.toml" in files
    assert [str(file) for file in files if file.stat().st_size > MOST_BYTES] == []
    assert sum(file.stat().st_size for file in files if file.is_relative_to(ROOT / "assets")) <= 25 * 1000**2


def test_nothing_that_ships_is_a_pickle() -> None:
    kinds = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz"}
    assert [str(file) for file in tracked() if file.suffix in kinds] == []


def front_matter() -> dict[str, Any]:
    import yaml

    _, matter, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(matter)


def test_the_readme_makes_a_space() -> None:
    matter = front_matter()
    assert matter["sdk"] == "gradio"
    assert matter["license"] == "apache-2.0"
    assert (ROOT / matter["app_file"]).is_file()
    assert 0 < len(matter["short_description"]) <= 60
    assert matter["title"]
    assert matter["emoji"]
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {matter["colorFrom"], matter["colorTo"]} <= colours
    assert matter["python_version"] in ("3.10", "3.12"), "a ZeroGPU Space knows no other"
    wanted = re.search(
        r"^gradio>=([\d.]+),<(\d+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert wanted
    numbers = [int(part) for part in matter["sdk_version"].split(".")]
    assert [int(part) for part in wanted[1].split(".")] <= numbers < [int(wanted[2])]


@pytest.mark.parametrize("name", READMES)
def test_a_readme_names_what_exists(name: str) -> None:
    content = (ROOT / name).read_text(encoding="utf-8")
    assert "pip install -r requirements.txt && python app.py" in content
    assert "pip install -r requirements-dev.txt && pytest" in content
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", content) + re.findall(r'src="([^"]+)"', content)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []
    unknown = [
        found for found in re.findall(r"ANIME_AI_([A-Z0-9_]+)", content) if found.lower() not in known_variables()
    ]
    assert unknown == []


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md"])
def test_a_document_names_commands_that_exist(name: str) -> None:
    import typer

    from anime_ai.cli import app

    group: Any = typer.main.get_command(app)
    content = (ROOT / name).read_text(encoding="utf-8")
    lines = [line for line in content.splitlines() if re.search(r"python -m anime_ai \w", line)]
    assert lines or name == "CONTRIBUTING.md"
    for line in lines:
        for command, rest in re.findall(r"python -m anime_ai ([a-z]+)([^&`|#]*)", line):
            assert command in group.commands, line
            found = group.commands[command]
            if hasattr(found, "commands"):  # a group of its own: the next word is the command
                assert rest.split()[0] in found.commands, line
                found = found.commands[rest.split()[0]]
            options = {option for parameter in found.params for option in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", rest)) <= options, line


def known_variables() -> set[str]:
    return {*Settings.model_fields, "language", "allowed_hosts", "test_data", "require_browser"}


def test_the_example_of_the_settings_is_whole() -> None:
    named = re.findall(r"^#?ANIME_AI_([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name.lower() for name in named) == sorted(Settings.model_fields)


def test_the_requirements_cover_what_is_imported() -> None:
    """Every third-party package that the library imports by name is asked for in requirements.txt.

    What embedded models are made with may stand among those of the developers.
    """
    from anime_ai.doctor.packages import distribution

    def names(file: str) -> set[str]:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        found = (re.split(r"[<>=\[; ]", line)[0] for line in lines if line and line[0] not in "#-")
        return {name.lower().replace("_", "-") for name in found}

    everybodys, developers = names("requirements.txt"), names("requirements-dev.txt")
    missing = {}
    for file in [*MODULES, ROOT / "app.py"]:
        asked = everybodys | (developers if f"/{ALONE}/" in file.as_posix() else set())
        for used in imported(file):
            top = used.split(".")[0]
            if top in sys.stdlib_module_names or top == "anime_ai":
                continue
            if (distribution(top) or top).lower().replace("_", "-") not in asked:
                missing.setdefault(top, module_name(file))
    assert missing == {}


def test_shipped_json_is_utf8_without_repeated_keys() -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), "a key stands twice"
        return dict(pairs)

    for file in sorted((ROOT / "data").rglob("*.json")):
        assert json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=once)
