"""A look, drawn. Knows the order in which things cover each other, and where the figure stands; the parts draw
themselves. The same look and size give the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import skia
from PIL import Image

from anime_ai.starter.portraits import accessories, backgrounds, clothes, eyes, face, hair, tresses
from anime_ai.starter.portraits.canvas import PAPER, Brush, box
from anime_ai.starter.portraits.looks import Look

UNITS = 512.0
"""The width of the picture that all parts are drawn for."""
DEPTH = 1.7
"""How far the background is out of focus."""
SMALL = 200
"""Pixels below which a background out of focus looks like any other."""
EYES_AT = (256.0, 266.0)
"""Where the middle between the eyes is, in a scene that moves nothing."""
BODY_TURN = 0.35
"""The shoulders lean against the head by this share of its tilt, as they do in life."""
NECK = 112.0
"""Below the eyes; the point about which the head tilts."""


def draw(look: Look, size: int = 512) -> Image.Image:
    """The portrait of a look as an RGB picture of `size` pixels square."""
    surface = skia.Surface(size, size)
    canvas = surface.getCanvas()
    canvas.scale(size / UNITS, size / UNITS)
    brush = Brush(canvas, look.style, random.Random(look.seed ^ look.scene_seed))
    if brush.manner.rough or size < SMALL:
        backgrounds.draw_background(brush, look)
    else:
        with brush.out_of_focus(DEPTH):
            backgrounds.draw_background(brush, look)
    if brush.manner.rough:
        # A pencil drawing leaves most of its paper white.
        canvas.drawColor((0x9A << 24) | (PAPER[0] << 16) | (PAPER[1] << 8) | PAPER[2])
        brush.hatch(box(0, 0, UNITS, UNITS), 0.14)
    scene = look.scene
    with brush.moved(EYES_AT[0] + scene.dx, EYES_AT[1] + scene.dy, size=scene.size):
        _figure(brush, look)
    backgrounds.draw_foreground(brush, look)
    pixels = surface.toarray(colorType=skia.kRGBA_8888_ColorType)
    return Image.fromarray(pixels).convert("RGB")


def _figure(brush: Brush, look: Look) -> None:
    """From the back to the front; all of the head but not the body tilts."""
    front = hair.front(look)
    turned = face.TURNED * look.scene.turn
    with _head(brush, look):
        tresses.draw_behind(brush, look)
    with brush.moved(0, NECK, turn=-BODY_TURN * look.scene.tilt), brush.moved(0, -NECK):
        clothes.draw_body(brush, look)
    with _head(brush, look):
        tresses.draw_over_shoulders(brush, look)
    accessories.draw_round_neck(brush, look)
    with _head(brush, look):
        accessories.draw_under_hair(brush, look)
        face.draw_head(brush, look, front.shape)
        with brush.moved(turned):
            face.draw_features(brush, look)
            eyes.draw_eyes(brush, look)
            accessories.draw_on_face(brush, look)
        hair.draw_front(brush, look, front)
        with brush.moved(turned):
            eyes.draw_through(brush, look)
        accessories.draw_on_hair(brush, look)
        face.draw_marks(brush, look)


@contextmanager
def _head(brush: Brush, look: Look) -> Iterator[None]:
    """What is drawn meanwhile tilts about the neck."""
    with brush.moved(0, NECK, turn=look.scene.tilt), brush.moved(0, -NECK):
        yield
