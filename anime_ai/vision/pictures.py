"""Pictures from strangers: refused by their header, turned upright, kept without what a camera wrote.

Knows no model.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from anime_ai.errors import VisionError
from anime_ai.files import write_bytes

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_PIXELS = 50_000_000
"""A decoded picture of this size takes 200 MB."""
MOST_SIDE = 1_600
"""Pixels of the longer side of what is kept; models look at 448 at most."""
QUALITY = 90


def read_picture(source: Path | bytes, side: int = MOST_SIDE) -> Image.Image:
    """A picture as RGB, upright, on white where it was transparent, its longer side at most `side` pixels.

    Of an animation, and of a file with several pictures, the first. Raises VisionError for what is no whole PNG, JPEG
    or WebP and for one with too many pixels, which is told from its header.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with open(source, "rb") if isinstance(source, Path) else io.BytesIO(source) as file, warnings.catch_warnings():
            # Pillow warns of large pictures on its own; the limit here is ours.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _read(file, side)
    except UnidentifiedImageError as error:
        raise VisionError("vision.not_a_picture") from error
    except Image.DecompressionBombError as error:
        raise VisionError("vision.too_many_pixels", most=MOST_PIXELS // 10**6) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise VisionError("vision.broken", why=error) from error


def _read(file: BinaryIO, side: int) -> Image.Image:
    from PIL import Image, ImageOps

    with Image.open(file, formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise VisionError("vision.too_many_pixels", most=MOST_PIXELS // 10**6)
        if opened.format in ("JPEG", "MPO"):
            opened.draft(
                "RGB", (side, side)
            )  # decodes at an eighth, a quarter or half of the size where that is enough
        opened.seek(0)
        opened.load()
        picture = _flat(ImageOps.exif_transpose(opened))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return picture


def _flat(picture: Image.Image) -> Image.Image:
    """RGB without transparency, from whatever mode."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
        import numpy as np

        return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        white = Image.new("RGB", clear.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()


def keep(picture: Image.Image, folder: Path) -> Path:
    """Write a picture that `read_picture` gave into `folder`, named by its content, and say where it lies.

    It is encoded anew: nothing of its file's metadata, such as the place where it was taken, is in what is kept.
    Raises StorageError.
    """
    content = io.BytesIO()
    bare = picture.copy()
    bare.info.clear()
    bare.save(content, "WEBP", quality=QUALITY, method=4)
    name = hashlib.sha256(content.getvalue()).hexdigest()[:32]
    path = folder / f"{name}.webp"
    if not path.exists():
        write_bytes(path, content.getvalue())
    return path


def dominant_colours(picture: Image.Image, count: int = 5) -> tuple[str, ...]:
    """The commonest colours of a picture as `#rrggbb`, most of it first."""
    table = picture.resize((64, 64)).quantize(count, kmeans=1)
    palette = table.getpalette() or []
    found: list[tuple[int, int]] = sorted(table.getcolors() or [], reverse=True)  # type: ignore[arg-type]
    return tuple("#{:02x}{:02x}{:02x}".format(*palette[3 * index : 3 * index + 3]) for _, index in found)
