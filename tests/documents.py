"""Documents in every format that is read, made here, whole and broken."""

from __future__ import annotations

import io
import json
import zipfile

SAID = "雪见的生日是七月七日。"


def zipped(files: dict[str, str | bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def docx(body: str, head: str = "", encoding: str = "utf-8") -> bytes:
    """A Word document (ECMA-376) with `body` as its paragraphs' XML."""
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    kinds = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return zipped(
        {
            "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/'
            'content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
            f'relationships+xml"/><Override PartName="/word/document.xml" ContentType="{kinds}"/></Types>',
            "_rels/.rels": '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            'relationships"><Relationship Id="a" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
            'relationships/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/document.xml": (
                f'<?xml version="1.0" encoding="{encoding}"?>{head}'
                f"<w:document {space}><w:body>{body}</w:body></w:document>"
            ).encode(encoding),
        }
    )


def paragraph(text: str, style: str = "") -> str:
    kind = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{kind}<w:r><w:t>{text}</w:t></w:r></w:p>"


def epub(*chapters: str, container: str = "") -> bytes:
    items = "".join(f'<item id="c{number}" href="c{number}.xhtml"/>' for number in range(len(chapters)))
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    return zipped(
        {
            "META-INF/container.xml": container
            or '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
            "OPS/book.opf": f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{f"OPS/c{number}.xhtml": f"<html><body>{one}</body></html>" for number, one in enumerate(chapters)},
        }
    )


def pdf(*pages: str, looping: bool = False, locked: bool = False) -> bytes:
    """A PDF (ISO 32000) with a page a text, in Latin letters; `looping`: its tree of pages has no end. `locked`: its
    standard security handler holds the digests of a password that nobody knows."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<</Type/Pages/Kids[{'2 0 R' if looping else kids}]/Count {99 if looping else len(pages)}>>")
    objects.append("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for number, text in enumerate(pages):
        shown = f"BT /F1 12 Tf 40 700 Td ({text}) Tj ET" if text else ""
        resources = "/Resources<</Font<</F1 3 0 R>>>>/MediaBox[0 0 600 800]"
        objects.append(f"<</Type/Page/Parent 2 0 R{resources}/Contents {5 + 2 * number} 0 R>>")
        objects.append(f"<</Length {len(shown)}>>stream\n{shown}\nendstream")
    written, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj{one}endobj\n".encode("latin-1")
    start = len(written)
    written += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    written += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    lock = f"/ID[<{'00' * 16}><{'00' * 16}>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{'5a' * 32}>/U<{'a5' * 32}>>>"
    trailer = f"/Size {len(objects) + 1}/Root 1 0 R{lock if locked else ''}"
    return written + f"trailer<<{trailer}>>\nstartxref\n{start}\n%%EOF".encode()


WHOLE: dict[str, bytes] = {
    "a.txt": f"第一段。\r\n\r\n{SAID}".encode(),
    "gbk.txt": ("今天的天气很好，我们去公园散步。" + SAID).encode("gbk"),
    "big5.txt": "今天的天氣很好，我們去公園散步。雪見的生日是七月七日。".encode("big5"),
    "utf16.txt": SAID.encode("utf-16"),
    "a.md": (
        f"---\ntitle: x\n---\n# 雪见\n\n{SAID}\n\n| 名 | 值 |\n|---|---|\n| 身高 | 155 |\n\n```\ncode\n```\n"
    ).encode(),
    "a.html": (
        "<html><head><title>x</title><script>alert(1)</script></head><body><h1>雪见</h1><div>外面"
        f"<p>{SAID}</p></div><table><tr><th>名</th><td>值</td></tr></table></body></html>"
    ).encode(),
    "a.docx": docx(paragraph("雪见", "Heading1") + paragraph(SAID)),
    "a.epub": epub(f"<h1>雪见</h1><p>{SAID}</p>", "<p>第二章。</p>"),
    "a.pdf": pdf("Yukimi was born on July 7.", "Second page."),
    "a.csv": f"名字,介绍\n雪见,{SAID}\n".encode(),
    "a.tsv": f"名字\t介绍\n雪见\t{SAID}\n".encode(),
    "a.json": json.dumps([{"名字": "雪见", "介绍": SAID, "别的": {"身高": 155}}], ensure_ascii=False).encode(),
    "a.jsonl": f'{{"text": "{SAID}"}}\n{{"text": "二"}}\n'.encode(),
    "a.srt": f"1\n00:00:01,000 --> 00:00:02,000\n{SAID}\n\n2\n00:00:03,000 --> 00:00:04,000\n是吗？\n".encode(),
    "a.ass": (
        "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, "
        "MarginV, Effect, Text\nDialogue: 0,0:00:01.00,0:00:02.00,Default,雪见,0,0,0,," + "{\\i1}" + SAID + "\n"
    ).encode(),
}
ENTITY = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty.txt": (b"", "knowledge.no_text"),
    "blank.md": (b" \n\n", "knowledge.no_text"),
    "binary.txt": (bytes(range(256)) * 20, "knowledge.not_text"),
    "no-text.pdf": (pdf(""), "knowledge.no_text"),
    "no.pdf": (b"%PDF-1.4 nothing", "knowledge.broken"),
    "looping.pdf": (pdf("x", looping=True), ""),
    "locked.pdf": (pdf("x", locked=True), "knowledge.encrypted"),
    "long.pdf": (pdf(*["x"] * 5_000), "knowledge.too_many_pages"),
    "no.docx": (b"PK nothing", "knowledge.broken"),
    "entity.docx": (docx(paragraph("&a;"), ENTITY), "knowledge.entities"),
    "entity.epub": (epub("<p>x</p>", container=ENTITY + "<container/>"), "knowledge.entities"),
    "utf16.docx": (docx(paragraph("&a;"), ENTITY, "utf-16"), "knowledge.entities"),
    "bomb.epub": (zipped({"OPS/a.xhtml": b"0" * (210 * 2**20)}), "knowledge.bomb"),
    "many.docx": (zipped({f"{number}.xml": "" for number in range(5_001)}), "knowledge.bomb"),
    "broken.json": (b'{"a": ', "knowledge.broken"),
    "deep.json": (b"[" * 100_000, "knowledge.broken"),
    "a.exe": (b"MZ", "knowledge.kind"),
}
"""Content, and the key of what is said; "" where any error will do."""
