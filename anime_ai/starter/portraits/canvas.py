"""How anything is drawn: curves, locks, tapered strokes, shading by clipping, and the five manners of drawing.

Knows skia, colours and the manners ("thin_lines" ...). Does not know what a face or a ribbon is.
Lengths are in units of a picture 512 units wide, whatever its size in pixels; y points down.
"""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import skia

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (255, 255, 255)
PAPER: Colour = (250, 247, 240)
PENCIL: Colour = (74, 70, 78)
NIGHT: Colour = (34, 22, 40)
"""What lines darken to: a warm near-black, since pure black looks cut out."""


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with a `share` (0 to 1) of `other` in it."""
    keep = 1 - share
    return (
        round(one[0] * keep + other[0] * share),
        round(one[1] * keep + other[1] * share),
        round(one[2] * keep + other[2] * share),
    )


def shifted(colour: Colour, hue: float = 0.0, light: float = 1.0, strength: float = 1.0) -> Colour:
    """The colour with its hue turned by `hue` degrees, its lightness and saturation multiplied."""
    h, lightness, s = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    parts = colorsys.hls_to_rgb((h + hue / 360) % 1, min(1.0, lightness * light), min(1.0, s * strength))
    red, green, blue = (round(part * 255) for part in parts)
    return (red, green, blue)


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The points on the other side of x = 0, in the same order."""
    return [(-x, y) for x, y in points]


def _through(path: skia.Path, points: Sequence[Point]) -> None:
    """Continues the path, which stands at the first point, smoothly through the others (Catmull-Rom)."""
    padded = (points[0], *points, points[-1])
    cubic = path.cubicTo
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        cubic(bx + (cx - ax) / 6, by + (cy - ay) / 6, cx - (dx - bx) / 6, cy - (dy - by) / 6, cx, cy)


def smooth(points: Sequence[Point]) -> skia.Path:
    """The closed curve through the points."""
    path = skia.Path()
    path.moveTo(*points[0])
    count = len(points)
    for i in range(count):
        (ax, ay), (bx, by) = points[i - 1], points[i]
        (cx, cy), (dx, dy) = points[(i + 1) % count], points[(i + 2) % count]
        path.cubicTo(bx + (cx - ax) / 6, by + (cy - ay) / 6, cx - (dx - bx) / 6, cy - (dy - by) / 6, cx, cy)
    path.close()
    return path


def joined(*runs: Sequence[Point], closed: bool = True) -> skia.Path:
    """A path of smooth runs that meet in corners; a run goes on where the last one ended."""
    path = skia.Path()
    at: Point | None = None
    for run in runs:
        if at is None:
            path.moveTo(*run[0])
            points = list(run)
        else:
            points = list(run) if run[0] == at else [at, *run]
        _through(path, points)
        at = points[-1]
    if closed:
        path.close()
    return path


def polygon(points: Sequence[Point]) -> skia.Path:
    """The straight-edged shape with these corners."""
    path = skia.Path()
    path.moveTo(*points[0])
    for x, y in points[1:]:
        path.lineTo(x, y)
    path.close()
    return path


def star(points: int, far: float, near: float) -> skia.Path:
    """A star about the origin whose points and notches are this far from it."""
    corners = []
    for i in range(points * 2):
        angle, radius = i * math.pi / points, near if i % 2 else far
        corners.append((math.sin(angle) * radius, -math.cos(angle) * radius))
    return polygon(corners)


def ellipse(x: float, y: float, across: float, down: float) -> skia.Path:
    """The ellipse about (x, y) with these half axes."""
    path = skia.Path()
    path.addOval(skia.Rect.MakeLTRB(x - across, y - down, x + across, y + down))
    return path


def box(left: float, top: float, right: float, bottom: float, corner: float = 0.0) -> skia.Path:
    """A rectangle, its corners rounded by `corner`."""
    path = skia.Path()
    path.addRoundRect(skia.Rect.MakeLTRB(left, top, right, bottom), corner, corner)
    return path


def ribbon(spine: Sequence[Point], widths: Sequence[float], path: skia.Path | None = None) -> skia.Path:
    """A lock or a tapered stroke: half as wide as `widths` says to either side of each point of the spine.

    It is added to `path` where one is given, so that many strokes cost one drawing.
    """
    path = skia.Path() if path is None else path
    left: list[Point] = []
    right: list[Point] = []
    before = (spine[0], *spine)
    after = (*spine[1:], spine[-1])
    for (x, y), (ax, ay), (bx, by), width in zip(spine, before, after, widths, strict=False):
        dx, dy = bx - ax, by - ay
        off = width / 2 / (math.hypot(dx, dy) or 1.0)
        dx, dy = dx * off, dy * off
        left.append((x - dy, y + dx))
        right.append((x + dy, y - dx))
    path.moveTo(*left[0])
    _through(path, left)
    right.reverse()
    path.lineTo(*right[0])
    _through(path, right)
    path.close()
    return path


@dataclass(frozen=True)
class Manner:
    """How a style draws. `dark`: how far lines go from the local colour to near-black; `faded`, `grey`: what it does
    to every colour; `rough`: pencil strokes instead of clean ones."""

    line: float
    dark: float
    faded: float = 0.0
    grey: float = 0.0
    rough: bool = False


MANNERS = {
    "thin_lines": Manner(2.2, 0.68),
    "bold_lines": Manner(5.2, 0.92),
    "no_lines": Manner(0.0, 0.72),
    "pastel": Manner(2.3, 0.42, faded=0.2),
    "sketch": Manner(2.6, 0.9, faded=0.26, grey=0.2, rough=True),
}
TINT: Colour = (255, 246, 244)
"""What pastel colours fade to: a hair warmer than white."""


class Brush:
    """A skia canvas, and the manner in which everything on it is drawn."""

    def __init__(self, canvas: skia.Canvas, style: str, chance: random.Random) -> None:
        self.canvas, self.manner, self.chance = canvas, MANNERS[style], chance

    def ink(self, colour: Colour) -> Colour:
        """The colour of lines around an area of this colour."""
        return PENCIL if self.manner.rough else mix(colour, NIGHT, self.manner.dark)

    def fill(self, path: skia.Path, colour: Colour, alpha: float = 1.0, blur: float = 0.0) -> None:
        """The shape in one colour, its edge blurred by `blur`."""
        paint = skia.Paint(AntiAlias=True, Color=self._argb(colour, alpha))
        if blur:
            paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
        self.canvas.drawPath(path, paint)

    def grade(
        self, path: skia.Path, colours: Sequence[Colour], start: Point, end: Point, alphas: Sequence[float] = ()
    ) -> None:
        """The shape in a gradient that runs from `start` to `end`."""
        shades = [self._argb(colour, alphas[i] if alphas else 1.0) for i, colour in enumerate(colours)]
        shader = skia.GradientShader.MakeLinear([skia.Point(*start), skia.Point(*end)], shades)
        self.canvas.drawPath(path, skia.Paint(AntiAlias=True, Shader=shader))

    def glow(self, at: Point, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """A disc that fades out towards its edge."""
        shades = [self._argb(colour, alpha), self._argb(colour, 0.0)]
        shader = skia.GradientShader.MakeRadial(skia.Point(*at), radius, shades)
        self.canvas.drawCircle(*at, radius, skia.Paint(AntiAlias=True, Shader=shader))

    def edge(self, path: skia.Path, colour: Colour, width: float = 1.0) -> None:
        """The line around an area of this colour; `width` in lines of the manner, which may have none."""
        if self.manner.rough:
            self._pencil(path, self.manner.line * width)
        elif self.manner.line:
            self.trace(path, self.ink(colour), self.manner.line * width)

    def trace(self, path: skia.Path, colour: Colour, width: float, alpha: float = 1.0) -> None:
        """A line of this colour and of even width along the path, in every manner."""
        self.canvas.drawPath(path, self._round(width, self._argb(colour, alpha)))

    def _pencil(self, path: skia.Path, width: float) -> None:
        self.canvas.drawPath(path, self._round(width, _argb(PENCIL, 0.8)))
        # A pencil goes over a line twice and never hits it.
        self.canvas.save()
        self.canvas.translate(self.chance.uniform(-3.4, 3.4), self.chance.uniform(-3, 3))
        self.canvas.rotate(self.chance.uniform(-0.8, 0.8))
        self.canvas.drawPath(path, self._round(width * 0.8, _argb(PENCIL, 0.5)))
        self.canvas.restore()

    @staticmethod
    def _round(width: float, colour: int) -> skia.Paint:
        paint = skia.Paint(AntiAlias=True, Style=skia.Paint.kStroke_Style, StrokeWidth=width, Color=colour)
        paint.setStrokeJoin(skia.Paint.kRound_Join)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
        return paint

    def stroke(
        self, spine: Sequence[Point], colour: Colour, width: float, widths: Sequence[float] = (), alpha: float = 1.0
    ) -> None:
        """One tapered stroke of this colour, drawn in every manner; `widths` are shares of `width` at the points."""
        self.fill(ribbon(spine, [width * share for share in widths or tapered(len(spine))]), colour, alpha)

    def strokes(self, spines: Sequence[Sequence[Point]], colour: Colour, width: float, alpha: float = 1.0) -> None:
        """Many tapered strokes at the price of one; they start thick and end thin."""
        path = skia.Path()
        for spine in spines:
            ribbon(spine, [width * share for share in running_out(len(spine))], path)
        if spines:
            self.fill(path, colour, alpha)

    def hatch(self, path: skia.Path, alpha: float = 0.45) -> None:
        """Pencil strokes over a shaded shape; only where the manner is rough."""
        if not self.manner.rough:
            return
        bounds = path.getBounds()
        lines = skia.Path()
        at = bounds.left() - bounds.height() * 0.6
        while at < bounds.right():
            lines.moveTo(at, bounds.bottom())
            lines.lineTo(at + bounds.height() * 0.6, bounds.top())
            at += self.chance.uniform(7, 10)
        paint = self._round(1.7, _argb(PENCIL, alpha))
        with self.within(path):
            self.canvas.drawPath(lines, paint)

    @contextmanager
    def within(self, path: skia.Path) -> Iterator[None]:
        """What is drawn meanwhile stays inside the path."""
        self.canvas.save()
        self.canvas.clipPath(path, skia.ClipOp.kIntersect, True)
        yield
        self.canvas.restore()

    @contextmanager
    def moved(
        self, x: float = 0.0, y: float = 0.0, turn: float = 0.0, size: float = 1.0, flip: bool = False
    ) -> Iterator[None]:
        """What is drawn meanwhile has its origin at (x, y), is turned by `turn` degrees, scaled, and mirrored."""
        self.canvas.save()
        self.canvas.translate(x, y)
        if turn:
            self.canvas.rotate(turn)
        if size != 1.0 or flip:
            self.canvas.scale(-size if flip else size, size)
        yield
        self.canvas.restore()

    @contextmanager
    def swayed(self, share: float, pivot: float) -> Iterator[None]:
        """What is drawn meanwhile leans: `share` of its distance below `pivot` it is moved to the right."""
        self.canvas.save()
        self.canvas.translate(-share * pivot, 0)
        self.canvas.skew(share, 0)
        yield
        self.canvas.restore()

    @contextmanager
    def out_of_focus(self, blur: float) -> Iterator[None]:
        """What is drawn meanwhile is blurred as a whole."""
        soft = skia.Paint(ImageFilter=skia.ImageFilters.Blur(blur, blur, skia.TileMode.kClamp))
        self.canvas.saveLayer(None, soft)
        yield
        self.canvas.restore()

    def _argb(self, colour: Colour, alpha: float) -> int:
        manner = self.manner
        if manner.faded:
            colour = _faded(colour, manner)
        return _argb(colour, alpha)


def tapered(count: int) -> list[float]:
    """Thin, thick, thin: the shares of a stroke's width at its points."""
    return [0.15 + 0.85 * math.sin(math.pi * i / (count - 1)) for i in range(count)]


def running_out(count: int) -> list[float]:
    """Thick to nothing."""
    return [1 - i / (count - 1) for i in range(count)]


def _argb(colour: Colour, alpha: float) -> int:
    return (round(alpha * 255) << 24) | (colour[0] << 16) | (colour[1] << 8) | colour[2]


@lru_cache(4096)
def _faded(colour: Colour, manner: Manner) -> Colour:
    """The colour as pastel chalk or as a pencil's colour would leave it."""
    grey = round(0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2])
    return mix(mix(colour, (grey, grey, grey), manner.grey), PAPER if manner.rough else TINT, manner.faded)
