"""Pictures from strangers: refused by their header, turned upright, kept without what a camera wrote.

Knows no model.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from anime_ai.errors import VisionError
from anime_ai.files import write_bytes

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_PIXELS = 50_000_000
"""Decoded, a picture of this size takes 200 MB, and as much again until it is made small."""
ORIENTATION = 0x0112
MOST_SIDE = 1_600
"""Pixels of the longer side of what is kept; models look at 448 at most."""
QUALITY = 90
SMALL, SMALL_SIDE = ".small.webp", 224
"""What a list of pictures shows: sixty whole ones would be many megabytes."""
_decoding = threading.Semaphore(2)
"""Pictures in memory at their full size at once."""


def read_picture(source: Path | bytes, side: int = MOST_SIDE) -> Image.Image:
    """A picture as RGB, upright, on white where it was transparent, its longer side at most `side` pixels.

    Of an animation, and of a file with several pictures, the first. Raises VisionError for what is no whole PNG, JPEG
    or WebP and for one with too many pixels, which is told from its header.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with _decoding, open(source, "rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            return _read(file, side)
    except UnidentifiedImageError as error:
        raise VisionError("vision.not_a_picture") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VisionError("vision.too_many_pixels", most=MOST_PIXELS // 10**6) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise VisionError("vision.broken", why=error) from error


def _read(file: BinaryIO, side: int) -> Image.Image:
    from PIL import Image

    with Image.open(file, formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise VisionError("vision.too_many_pixels", most=MOST_PIXELS // 10**6)
        turn = _turn(opened)
        if opened.format in ("JPEG", "MPO"):
            # Decoded at an eighth, a quarter or half of its size where that is enough.
            opened.draft("RGB", (side, side))
        opened.seek(0)
        opened.load()
        picture = _plain(opened)
    # Made small before all else: every step below copies it.
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    picture = picture if turn is None else picture.transpose(turn)
    return _on_white(picture)


def _turn(opened: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright, by its EXIF orientation alone: much else in that block is broken at times."""
    from PIL.Image import Transpose

    try:
        orientation = opened.getexif().get(ORIENTATION)
    except Exception:  # whatever a stranger wrote there
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation) if isinstance(orientation, int) else None


def _plain(opened: Image.Image) -> Image.Image:
    """In a mode whose pixels can be averaged, transparency kept."""
    from PIL import Image

    if opened.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        import numpy as np

        return Image.fromarray((np.asarray(opened).astype(np.uint16) >> 8).astype(np.uint8))
    if opened.mode in ("P", "PA", "1") or (opened.mode in ("L", "RGB") and opened.has_transparency_data):
        return opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    return opened.copy()


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    white = Image.new("RGB", clear.size, "white")
    white.paste(clear, mask=clear.getchannel("A"))
    return white


def keep(picture: Image.Image, path: Path) -> None:
    """Write a picture that `read_picture` gave as WebP.

    It is encoded anew: nothing of its file's metadata, such as the place where it was taken, is in what is kept.
    Raises StorageError.
    """
    content = io.BytesIO()
    bare = picture.copy()
    bare.info.clear()
    bare.save(content, "WEBP", quality=QUALITY, method=2)  # 4 takes more than twice as long to save 6 %
    write_bytes(path, content.getvalue())


def small(path: Path) -> Path:
    """A small copy of a kept picture, made at the first call. Raises VisionError and StorageError."""
    beside = path.with_suffix(SMALL)
    if not beside.is_file():
        keep(read_picture(path, SMALL_SIDE), beside)
    return beside


def dominant_colours(picture: Image.Image, count: int = 5) -> tuple[str, ...]:
    """The commonest colours of a picture as `#rrggbb`, most of it first."""
    table = picture.resize((64, 64), reducing_gap=2.0).quantize(count, kmeans=1)
    palette = table.getpalette() or []
    found: list[tuple[int, int]] = sorted(table.getcolors() or [], reverse=True)  # type: ignore[arg-type]
    return tuple("#{:02x}{:02x}{:02x}".format(*palette[3 * index : 3 * index + 3]) for _, index in found)
