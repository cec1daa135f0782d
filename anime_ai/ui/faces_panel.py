"""A persona's faces in her editor: which she has, pictures for them, whether they are shown. Knows no file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import PersonaError
from anime_ai.persona.charx import is_charx, unzipped
from anime_ai.persona.feelings import CALM, FEELINGS, feeling_named
from anime_ai.texts import text
from anime_ai.ui.card_routes import avatar_url, face_urls
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, note
from anime_ai.ui.persons import Person
from anime_ai.ui.uploads import read_once
from anime_ai.vision.pictures import SUFFIXES

if TYPE_CHECKING:
    from anime_ai.persona.cards import Persona
    from anime_ai.studio import Studio

MOST_FILES = 200
"""Of one upload; a pack of sprites has some thirty."""
CHOOSE = """
element.addEventListener("click", (event) => {
  const found = event.target.closest("[data-feeling]");
  if (found) trigger("click", { feeling: found.dataset.feeling });
});
"""


class FacesPanel:
    """Handlers, and the components after `build`. `asked` is the persona that the page has open, `own` the same for a
    change: it refuses one that ships."""

    def __init__(self, studio: Studio, asked: Callable[[Any], Persona], own: Callable[[Any], Persona]) -> None:
        self.library = studio.personas
        self.asked, self.own = asked, own

    def shown(self, found: Persona, language: str) -> list[Any]:
        """Updates of `outputs`."""
        about = text("ui.faces.shipped" if found.shipped else "ui.faces.help", language)
        return [
            f'<p class="about">{escape(about)}</p>{_tiles(found, language)}',
            gr.update(value=found.expressive),
            *(gr.update(visible=not found.shipped) for _ in range(3)),
        ]

    def _changed(self, found: Persona, language: str) -> list[Any]:
        return [{"id": found.id, "version": found.version}, *self.shown(found, language)]

    # Handlers.

    def choose_feeling(self, person: Person, happened: gr.EventData) -> Any:
        told = happened._data if isinstance(happened._data, dict) else {}
        feeling = str(told.get("feeling", ""))
        return feeling if feeling in FEELINGS else gr.skip()

    def upload_faces(self, person: Person, state: Any, feeling: str, files: Sequence[str] | None) -> list[Any]:
        """One picture for the feeling that is chosen; several, or a zip, by their names."""
        paths = [Path(str(file)) for file in files or ()]
        with read_once(*paths):
            found = self.own(state)
            named = _named(paths)
        if not named:
            raise PersonaError("persona.no_pictures")
        alone = len(named) == 1 and not (_is_zip(files) and feeling_named(named[0][0]))
        if alone:
            sprites = {_known(feeling): named[0][1]}
        else:
            sprites = {feeling_named(name): content for name, content in named[::-1] if feeling_named(name)}
        if not sprites:
            raise PersonaError("persona.unnamed_pictures", names="、".join(name for name, _ in named[:5])[:120])
        changed = self.library.set_sprites(found.id, sprites)
        left = [name for name, _ in named if not alone and not feeling_named(name)]
        told = text("ui.faces.taken", person.language, count=len(sprites))
        if left:
            told += text("ui.faces.left", person.language, names="、".join(left[:8])[:200])
        note(told, person.language)
        return self._changed(changed, person.language)

    def remove_face(self, person: Person, state: Any, feeling: str) -> list[Any]:
        return self._changed(self.library.remove_sprite(self.own(state).id, _known(feeling)), person.language)

    def show_faces(self, person: Person, state: Any, shown: bool) -> list[Any]:
        return self._changed(self.library.show_faces(self.asked(state).id, bool(shown)), person.language)

    # Components.

    def build(self) -> None:
        self.switch = gr.Checkbox(
            label=label("ui.faces.shown"), info=label("ui.faces.shown.help"), elem_id="faces-shown"
        )
        self.tiles = gr.HTML(elem_id="faces", js_on_load=CHOOSE)
        self.feeling = gr.Radio(
            [(label(f"ui.feeling.{name}"), name) for name in FEELINGS],
            value=CALM,
            label=label("ui.faces.feeling"),
            elem_id="face-feeling",
        )
        with gr.Row(equal_height=True):
            self.file = gr.UploadButton(
                label("ui.faces.upload"),
                file_count="multiple",
                file_types=[*SUFFIXES, ".zip"],
                size="sm",
                min_width=120,
                elem_id="face-upload",
            )
            self.remove_button = gr.Button(label("ui.faces.remove"), size="sm", min_width=90, elem_id="face-remove")

    @property
    def outputs(self) -> list[Any]:
        return [self.tiles, self.switch, self.feeling, self.file, self.remove_button]

    def connect(self, page: Page, state: Any) -> None:
        changed = [state, *self.outputs]
        page.on(self.tiles.click, self.choose_feeling, role="owner", event=True, outputs=[self.feeling])
        page.on(self.switch.input, self.show_faces, role="owner", inputs=[state, self.switch], outputs=changed)
        uploaded = [state, self.feeling, self.file]
        page.on(self.file.upload, self.upload_faces, role="owner", inputs=uploaded, outputs=changed)
        page.on(self.remove_button.click, self.remove_face, role="owner", inputs=[state, self.feeling], outputs=changed)


def _named(paths: Sequence[Path]) -> list[tuple[str, bytes]]:
    """Every picture by its name, those in a zip too. Raises PersonaError for too many, and for a zip that is a trap."""
    found: list[tuple[str, bytes]] = []
    for path in paths[:MOST_FILES]:
        content = path.read_bytes()
        if path.suffix.lower() == ".zip" and is_charx(content):
            inside = sorted(unzipped(content).items())
            found += [(name.rsplit("/", 1)[-1], one) for name, one in inside if name.lower().endswith(SUFFIXES)]
        else:
            found.append((path.name, content))
    if len(found) > MOST_FILES:
        raise PersonaError("persona.too_many", count=len(found), most=MOST_FILES)
    return found


def _is_zip(files: Sequence[str] | None) -> bool:
    return any(str(file).lower().endswith(".zip") for file in files or ())


def _known(feeling: Any) -> str:
    if feeling not in FEELINGS:
        raise PersonaError("persona.no_feeling", name=str(feeling)[:40])
    return str(feeling)


def _tiles(found: Persona, language: str) -> str:
    """A tile for each feeling: her face, or a sign that her picture stands in for it."""
    urls = face_urls(found) if found.expressive else {}
    tiles = []
    for feeling in FEELINGS:
        url, name = urls.get(feeling, ""), escape(text(f"ui.feeling.{feeling}", language))
        plain = avatar_url(found)
        kind = "" if url else ' class="stands-in"'
        picture = (
            f'<img loading="lazy" src="{escape(url or plain)}" alt="">'
            if url or plain
            else '<span class="face"></span>'
        )
        tiles.append(f'<li data-feeling="{feeling}"{kind}>{picture}<small>{name}</small></li>')
    return f'<ul class="faces">{"".join(tiles)}</ul>'
