"""Pictures from strangers: what is read, what is refused, and what is kept of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from anime_ai.errors import VisionError
from anime_ai.vision import pictures
from anime_ai.vision.pictures import dominant_colours, keep, read_picture

RED, BLUE, WHITE = (200, 30, 40), (30, 60, 200), (255, 255, 255)


def encoded(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, format, **options)
    return content.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture.convert(mode)


def bomb(side: int) -> bytes:
    """A PNG of `side` by `side` black pixels, as small as it gets."""
    row = b"\0" * (1 + side // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def close(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 40 for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_what_people_have_is_read(format: str) -> None:
    picture = read_picture(encoded(halves(), format))
    assert (picture.mode, picture.size) == ("RGB", (64, 32))
    assert close(picture.getpixel((8, 16)), RED)
    assert close(picture.getpixel((56, 16)), BLUE)


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (lambda: encoded(halves("CMYK"), "JPEG"), RED),
        (lambda: encoded(halves("P")), RED),
        (lambda: encoded(halves("L"), "JPEG"), halves("L").convert("RGB").getpixel((0, 0))),
        (lambda: encoded(Image.new("RGBA", (64, 32), (0, 0, 0, 0))), WHITE),
        (lambda: encoded(Image.new("LA", (64, 32), (0, 0))), WHITE),
        (lambda: encoded(Image.fromarray(np.full((32, 64), 50_000, np.uint16))), (195, 195, 195)),
        (lambda: encoded(halves(), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 32))] * 3), RED),
        (lambda: encoded(halves(), "PNG", save_all=True, append_images=[Image.new("RGB", (64, 32))] * 3), RED),
        (lambda: encoded(halves(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 32))]), RED),
        (lambda: encoded(Image.new("1", (1, 1), 1)), WHITE),
    ],
    ids=["cmyk", "palette", "grey", "clear", "clear grey", "16 bits", "webp film", "png film", "two in one", "1x1"],
)
def test_rare_kinds_are_read_too(content: Callable[[], bytes], left: tuple[int, int, int]) -> None:
    picture = read_picture(content())
    assert picture.mode == "RGB"
    assert close(picture.getpixel((0, 0)), left)


def test_a_picture_is_turned_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter to the right
    picture = read_picture(encoded(halves(), "JPEG", exif=turned))
    assert picture.size == (32, 64)
    assert close(picture.getpixel((16, 4)), RED)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_would(orientation: int) -> None:
    corner = halves()
    corner.paste(WHITE, (0, 0, 16, 8))
    turned = Image.Exif()
    turned[0x0112] = orientation
    content = encoded(corner, "PNG", exif=turned)
    assert read_picture(content).tobytes() == ImageOps.exif_transpose(Image.open(io.BytesIO(content))).tobytes()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_broken_exif_block_does_not_matter() -> None:
    """Pillow reads this one and cannot write it again."""
    written = Image.Exif()
    written[0x0112] = 6
    good = encoded(halves(), "JPEG", exif=written)
    for place in range(12, 80):  # the block begins behind the marker; some of these break its entries
        broken = bytearray(good)
        broken[place : place + 2] = b"\xff\x05"
        with suppress(VisionError):
            read_picture(bytes(broken))


def test_a_large_picture_is_made_smaller() -> None:
    picture = read_picture(encoded(halves(size=(4000, 1000)), "JPEG"))
    assert picture.size == (pictures.MOST_SIDE, pictures.MOST_SIDE // 4)
    assert read_picture(encoded(halves(size=(4000, 1000)), "JPEG"), side=224).size == (224, 56)


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bomb(13_000)
    assert len(content) < 200_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(VisionError, match="百万像素"):
        read_picture(content)
    with pytest.raises(VisionError, match="百万像素"):
        read_picture(bomb(40_000))  # beyond the limit of Pillow itself


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ\x90\0" + b"\0" * 500,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + b"\0" * 100,
        b"%PDF-1.7",
    ],
    ids=["empty", "program", "svg", "gif", "pdf"],
)
def test_what_is_no_picture_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "看.png"
    file.write_bytes(content)
    with pytest.raises(VisionError, match="这不是图片"):
        read_picture(file)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_breaks_off_is_said_to_be_broken(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))
    content = encoded(noise, format)
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(VisionError):
            read_picture(content[: int(len(content) * share)])


def test_what_a_camera_wrote_is_not_kept(tmp_path: Path) -> None:
    written = Image.Exif()
    written[0x010F] = "SECRET CAMERA"
    written.get_ifd(0x8825)[1] = "N"
    content = encoded(halves(), "JPEG", exif=written, comment=b"SECRET COMMENT")
    assert b"SECRET" in content
    path = tmp_path / "pictures" / "one.webp"
    keep(read_picture(content), path)
    assert b"SECRET" not in path.read_bytes()
    assert b"Exif" not in path.read_bytes()
    with Image.open(path) as kept:
        assert not dict(kept.getexif())
    assert [one.name for one in path.parent.iterdir()] == ["one.webp"]


def test_colours_are_told_by_how_much_there_is_of_them() -> None:
    picture = Image.new("RGB", (100, 100), RED)
    picture.paste(BLUE, (0, 0, 100, 30))
    first, second, *_ = dominant_colours(picture)
    assert close(tuple(bytes.fromhex(first[1:])), RED)
    assert close(tuple(bytes.fromhex(second[1:])), BLUE)
