"""Portraits in the anime manner, drawn by rule: the pictures that the small image model learns from, and the avatars.

Knows words (`looks`), drawing (`portrait.draw`) and cameras (`camera.photographed`); it knows no model and no app.
skia is imported here and in the modules below alone, so only who draws imports this package.
"""

from __future__ import annotations

from anime_ai.starter.portraits.camera import photographed
from anime_ai.starter.portraits.looks import Look, draw_look, vary
from anime_ai.starter.portraits.portrait import draw

__all__ = ["Look", "draw", "draw_look", "photographed", "vary"]
