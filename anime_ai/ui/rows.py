"""Rows of a dataset as HTML: the grid, a dialogue as bubbles, what changed. Knows no component and no database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import TYPE_CHECKING

from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.dataset.pages import Page
    from anime_ai.dataset.records import StoredRow
    from anime_ai.dataset.snapshots import Diff
    from anime_ai.dataset.store import ConflictError

MOST_CHANGES = 60
"""Rows of each kind that a comparison shows."""
SPEAKER = {
    "user": ("用户：", "用户:", "User:", "user:", "U:", "ユーザー：", "ユーザー:"),
    "her": ("她：", "她:", "Her:", "her:", "A:", "キャラ：", "キャラ:"),
}
GRID = """
let last = null;
const boxes = () => [...element.querySelectorAll("tbody input[type=checkbox]")];
const told = () => trigger("select", { rows: boxes().filter((box) => box.checked).map((box) => box.value) });
const choose = (event) => {
  const box = event.target.closest("input[type=checkbox]");
  if (box) {
    const all = boxes();
    if (box.dataset.all) all.forEach((one) => { one.checked = box.checked; });
    else if (event.shiftKey && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      all.slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
    }
    last = box;
    return told();
  }
  if (event.target.closest("td.pick")) return;
  const row = event.target.closest("[data-row]");
  if (!row) return;
  element.querySelectorAll("tr.chosen").forEach((one) => one.classList.remove("chosen"));
  row.classList.add("chosen");
  trigger("click", { row: row.dataset.row });
};
// A redraw gives the boxes that are there to other rows, and leaves them ticked or not, as they were.
watch("value", () => {
  for (const box of element.querySelectorAll("input[type=checkbox]")) box.checked = box.defaultChecked;
});
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => {
  const row = event.target.closest("tr[data-row]");
  if (!row || event.isComposing) return;
  if (event.key === "Enter") choose(event);
  const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (next) { event.preventDefault(); next.focus(); }
  if (event.key === " " || event.key === "x") {
    event.preventDefault();
    const box = row.querySelector("input[type=checkbox]");
    box.checked = !box.checked;
    told();
  }
});
"""
"""What the grid does: a click or Enter opens a row, arrows walk, the space bar or x picks, Shift picks a stretch."""


def grid(page: Page, language: str, chosen: str = "", picked: Collection[str] = ()) -> str:
    """One page of rows as a table whose rows carry their ids; long texts are cut to what two lines show."""
    if not page.rows:
        return f'<p class="empty">{escape(text("ui.dataset.nothing", language))}</p>'
    every = f'<input type="checkbox" data-all="1" aria-label="{escape(text("ui.grid.pick_all", language))}">'
    heads = f'<th class="pick">{every}</th>' + "".join(
        f'<th class="{kind}">{escape(text(f"ui.grid.{name}", language))}</th>'
        for name, kind in (("number", "number"), ("input", ""), ("output", ""), ("persona", "voice"))
    )
    lines = "".join(_line(stored, language, stored.id == chosen, stored.id in picked) for stored in page.rows)
    return f'<table class="rows picking"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'


def _line(stored: StoredRow, language: str, chosen: bool, picked: bool) -> str:
    row = stored.row
    kind = ' class="chosen"' if chosen else ""
    marks = [f'<i class="draft">{escape(text("ui.row.draft", language))}</i>'] if row.draft else []
    if row.history:
        marks.append(f"<i>{escape(text('ui.grid.turns', language, count=len(row.history) + 1))}</i>")
    marks += [f'<i class="tag">{escape(tag)}</i>' for tag in row.tags[:3]]
    shown = f'<span class="marks">{"".join(marks)}</span>' if marks else ""
    pick = text("ui.grid.pick", language, number=stored.position + 1)
    box = f'<input type="checkbox" value="{escape(stored.id)}" aria-label="{escape(pick)}"{" checked" * picked}>'
    return (
        f'<tr data-row="{escape(stored.id)}" tabindex="0"{kind}><td class="pick">{box}</td>'
        f'<td class="number">{stored.position + 1}</td><td><div>{escape(row.input[:160])}</div>{shown}</td>'
        f"<td><div>{escape(row.output[:160])}</div></td>"
        f'<td class="voice"><div>{escape(row.persona[:40])}</div></td></tr>'
    )


def bubbles(row: Row, language: str) -> str:
    """A whole dialogue as it would be chatted: system line, turns, inner monologue, the worse answer."""
    parts = [f'<p class="system">{escape(row.system)}</p>'] if row.system else []
    for said, answered in row.history:
        parts += [f'<p class="mine">{escape(said)}</p>', f'<p class="hers">{escape(answered)}</p>']
    parts.append(f'<p class="mine">{escape(row.input)}</p>')
    if row.inner:
        parts.append(f'<p class="inner"><b>{escape(text("ui.row.inner", language))}</b>{escape(row.inner)}</p>')
    parts.append(f'<p class="hers">{escape(row.output)}</p>')
    if row.rejected:
        parts.append(f'<p class="worse"><b>{escape(text("ui.row.rejected", language))}</b>{escape(row.rejected)}</p>')
    return f'<div class="bubbles">{"".join(parts)}</div>'


def conflict_box(conflict: ConflictError, language: str) -> str:
    """Both texts, side by side."""
    sides = [("mine", conflict.mine), ("theirs", conflict.theirs.row)]
    shown = "".join(
        f"<div><h4>{escape(text(f'ui.conflict.{name}', language))}</h4>{bubbles(row, language)}</div>"
        for name, row in sides
        if row is not None
    )
    say = escape(text("ui.conflict", language))
    return f'<div class="plain fault">{say}</div><div class="sides">{shown}</div>'


def diff_box(diff: Diff, language: str) -> str:
    """What changed between two states of a dataset."""
    if not diff:
        return f'<p class="empty">{escape(text("ui.snapshot.same", language))}</p>'
    parts = []
    for name, rows in (("added", diff.added), ("removed", diff.removed)):
        if rows:
            head = escape(text(f"ui.snapshot.{name}", language, count=len(rows)))
            lines = "".join(f'<li class="{name}">{_brief(row)}</li>' for row in rows[:MOST_CHANGES])
            parts.append(f"<h4>{head}</h4><ul>{lines}{_more(len(rows), language)}</ul>")
    if diff.changed:
        head = escape(text("ui.snapshot.changed", language, count=len(diff.changed)))
        lines = "".join(
            f'<li><span class="removed">{_brief(old)}</span><span class="added">{_brief(new)}</span></li>'
            for old, new in diff.changed[:MOST_CHANGES]
        )
        parts.append(f"<h4>{head}</h4><ul>{lines}{_more(len(diff.changed), language)}</ul>")
    return f'<div class="diff">{"".join(parts)}</div>'


def _more(count: int, language: str) -> str:
    left = count - MOST_CHANGES
    return f"<li>{escape(text('ui.upload.more_problems', language, count=left))}</li>" if left > 0 else ""


def _brief(row: Row) -> str:
    cells = [row.input, row.output, *(f"〔{cell}〕" for cell in (row.inner, row.system) if cell)]
    cells += [f"#{tag}" for tag in row.tags]
    turns = "".join(f"{said} / {answered} / " for said, answered in row.history)
    return escape(f"{turns}{' → '.join(cells[:2])} {' '.join(cells[2:])}".strip()[:400])


def history_text(history: Sequence[tuple[str, str]]) -> str:
    """The turns before, a speech a paragraph: "用户：…" and "她：…"."""
    return "\n".join(f"{SPEAKER['user'][0]}{said}\n{SPEAKER['her'][0]}{answer}" for said, answer in history)


def parse_history(written: str) -> tuple[tuple[str, str], ...]:
    """What `history_text` writes, read back; a line without a speaker belongs to the speech above it."""
    speeches: list[tuple[str, str]] = []
    for line in written.strip().splitlines():
        who = next((who for who, marks in SPEAKER.items() if line.strip().startswith(marks)), "")
        if who:
            mark = next(mark for mark in SPEAKER[who] if line.strip().startswith(mark))
            speeches.append((who, line.strip()[len(mark) :].strip()))
        elif speeches:
            speeches[-1] = (speeches[-1][0], f"{speeches[-1][1]}\n{line}")
        elif line.strip():
            raise DatasetError("ui.history")
    if [who for who, _ in speeches] != ["user", "her"] * (len(speeches) // 2):
        raise DatasetError("ui.history")
    return tuple((speeches[at][1].strip(), speeches[at + 1][1].strip()) for at in range(0, len(speeches), 2))
