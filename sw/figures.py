"""Figures of the documents: error over area, one for each operator."""

import dataclasses
import io
import json
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrtl.sw.accuracy.plots import PALETTE, STYLE
from vitrtl.sw.comparison import SCALE, TARGET, lines, published
from vitrtl.sw.files import digest, write_if_changed

__all__ = ["FIGURES", "Picture", "is_current", "picture", "write"]

FIGURES = {f"figures/{operator}.svg": operator for operator in ("softmax", "gelu", "layernorm")}
"""Files below docs/, and the operator that each is of."""

WIDTH, HEIGHT = 7.6, 4.6
MARGIN = 1.35
"""Room beside the smallest and the largest area."""
TICKS = ([digit * 10**power for power in (1, 2, 3, 4) for digit in (1, 2, 5)],
         [digit * 10**power for power in (1, 2, 3, 4) for digit in range(1, 10)])
"""Areas that the axis names: few, or where it is short, many."""
LETTER, LINE = 4.9, 12.0
"""Size of a letter and of a line of the labels, in points."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """One build: area up to an operand of 8 bits, its errors, the blocks of the unit alone."""

    label: str
    method: str
    area: int
    near: float
    far: float
    dsp: int
    bram: int


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """What a figure shows.

    Parameters
    ----------
    operator : of the methods.
    marks : builds of one lane.
    peers : name and area of the published units, whose error is not known.
    """

    operator: str
    marks: tuple[Mark, ...]
    peers: tuple[tuple[str, int], ...]

    @property
    def digest(self) -> str:
        """Checksum of what is shown and of the drawing's own source."""
        return digest(json.dumps(dataclasses.asdict(self), sort_keys=True),
                      Path(__file__).read_bytes())


def picture(operator: str) -> Picture:
    """Return what the figure of an operator shows now.

    Raises
    ------
    UserError
        If a cost or an error is missing or stale.
    """
    marks = tuple(
        Mark(label=line.label, method=line.subject.unit.method, area=line.whole.area,
             near=line.near.largest, far=line.far.largest, dsp=line.alone.dsp,
             bram=line.alone.bram)
        for line in lines(operator)
        if line.cost.lanes == 1 and not line.far.refused and not line.near.refused)
    return Picture(operator, marks, tuple((p.peer.split()[0], p.lut4eq)
                                          for p in published(operator) if p.to_8_bits))


def is_current(path: Path, shown: Picture) -> bool:
    """Return whether a file was drawn from exactly this."""
    return path.is_file() and f"data {shown.digest}" in path.read_text()


def write(path: Path, shown: Picture) -> bool:
    """Draw a figure.  Returns whether the file changed."""
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        draw(shown).savefig(out, format="svg", metadata={
            "Date": None, "Description": f"data {shown.digest}"})
    return write_if_changed(path, out.getvalue())


def draw(shown: Picture) -> Figure:
    """Return the figure.

    A mark stands at the largest error over all scales, the foot of its stem at that of the scale
    0.05. Squares have block memories, circles none; the mark grows with the multiplier blocks.
    Published units stand above the axes, at their area.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((0.09, 0.11, 0.88, 0.63))
        axes.set(xscale="log", yscale="log", ylabel="largest absolute error",
                 xlabel=f"LUT4eq on {TARGET}, to an operand of 8 bits")
        areas = [mark.area for mark in shown.marks]
        axes.set_xlim(min(areas) / MARGIN, max(areas) * MARGIN)
        errors = [error for mark in shown.marks for error in (mark.near, mark.far)]
        axes.set_ylim(min(errors) / 1.6, max(errors) * 1.6)
        left, right = axes.get_xlim()
        few, many = ([t for t in ticks if left <= t <= right] for ticks in TICKS)
        ticks = few if len(few) >= 3 else many
        axes.set_xticks(ticks, [f"{t:,g}" for t in ticks])
        axes.minorticks_off()
        axes.grid(axis="y")
        figure.text(0.02, 0.955, f"{shown.operator}: error over all scales and area", fontsize=10)
        figure.text(0.02, 0.91, f"foot of the stem: error at scale {SCALE:g}; square: with block "
                    "memory; size: multiplier blocks; grey line: least error for the area",
                    fontsize=7.5, color="#444444")
        _frontier(axes, shown.marks)
        colours: dict[str, str] = {}
        for mark in shown.marks:
            colour = colours.setdefault(mark.method, PALETTE[len(colours) % len(PALETTE)])
            axes.plot([mark.area] * 2, [mark.near, mark.far], color=colour, linewidth=0.9)
            axes.scatter([mark.area], [mark.far], s=22 + 14 * mark.dsp, color=colour,
                         marker="s" if mark.bram else "o", zorder=3, edgecolor="white",
                         linewidth=0.6)
        taken = _mark_boxes(axes, shown)
        for mark in shown.marks:
            _label(axes, mark, colours[mark.method], taken)
        _peers(axes, shown.peers)
    return figure


def _frontier(axes: Axes, marks: tuple[Mark, ...]) -> None:
    """Draw the steps below which no build lies."""
    best, steps = float("inf"), []
    for mark in sorted(marks, key=lambda mark: (mark.area, mark.far)):
        if mark.far < best:
            best = mark.far
            steps.append((mark.area, best))
    if steps:
        x, y = zip(*steps, (axes.get_xlim()[1], best), strict=True)
        axes.step(x, y, where="post", color="#bbbbbb", linewidth=1, zorder=1)


def _points(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Return a place of the data in points from the figure's corner."""
    scale = 72 / axes.figure.dpi
    px, py = axes.transData.transform((x, y))
    return float(px * scale), float(py * scale)


def _mark_boxes(axes: Axes, shown: Picture) -> list[tuple[float, float, float, float]]:
    """Return what the marks cover: left, bottom, right, top in points."""
    boxes = []
    for mark in shown.marks:
        x, y = _points(axes, mark.area, mark.far)
        boxes.append((x - 5, y - 5, x + 5, y + 5))
    return boxes


def _label(axes: Axes, mark: Mark, colour: str,
           taken: list[tuple[float, float, float, float]]) -> None:
    """Write a name beside its mark, in the first place that is free."""
    text = mark.label
    width = LETTER * len(text)
    x, y = _points(axes, mark.area, mark.far)
    left, right = (_points(axes, limit, mark.far)[0] for limit in axes.get_xlim())
    places = [(dx, dy) for dy in (0, LINE, -LINE, 2 * LINE, -2 * LINE, 3 * LINE, -3 * LINE)
              for dx in (9, -9 - width)]
    places = [p for p in places if left <= x + p[0] and x + p[0] + width <= right] or places

    def box(place: tuple[float, float]) -> tuple[float, float, float, float]:
        low, base = x + place[0], y + place[1]
        return low, base - LINE / 2, low + width, base + LINE / 2

    def clashes(place: tuple[float, float]) -> int:
        a = box(place)
        return sum(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken)

    place = min(places, key=clashes)
    taken.append(box(place))
    far = abs(place[1]) > LINE
    leftwards = place[0] < 0
    axes.annotate(text, (mark.area, mark.far), (-9 if leftwards else 9, place[1]),
                  textcoords="offset points", va="center", ha="right" if leftwards else "left",
                  color=colour, fontsize=8, bbox={"facecolor": "white", "edgecolor": "none",
                                              "alpha": 0.8, "pad": 0.5}, arrowprops={
                      "arrowstyle": "-", "color": colour, "linewidth": 0.4} if far else None)


def _peers(axes: Axes, peers: tuple[tuple[str, int], ...]) -> None:
    """Mark the areas of published units above the axes, and tell those that lie outside."""
    left, right = axes.get_xlim()
    outside = [f"{name} {area:,}" for name, area in sorted(peers, key=lambda peer: peer[1])
               if not left <= area <= right]
    inside = [(name, area) for name, area in peers if left <= area <= right]
    text = "published units to 8 bits, error not known"
    if outside:
        text += f"; outside these axes: {', '.join(outside)} LUT4eq"
    axes.text(0, 1.15, text, transform=axes.transAxes, fontsize=7.5, color="#444444")
    for name, area in inside:
        axes.plot([area], [1.025], marker="v", color="#666666", markersize=5, clip_on=False,
                  transform=axes.get_xaxis_transform())
        axes.text(area, 1.055, f"{name} {area:,}", transform=axes.get_xaxis_transform(),
                  ha="center", fontsize=7.5, color="#444444")
