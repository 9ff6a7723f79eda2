"""Plots of the error study."""

import io
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrtl.sw.accuracy.study import DEFAULT, Errors, Subject, respond, worst
from vitrtl.sw.files import write_if_changed
from vitrtl.sw.reference import gelu

__all__ = ["PALETTE", "STYLE", "exponential", "gelu_curves", "over_scale", "save"]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b")
"""Colours of Okabe and Ito, which colour-blind readers can tell apart, and a brown."""

SCALE = Fraction("0.05")
"""Input scale of the curves."""

FARTHEST = 10
"""Distance below the maximum to which the exponential is drawn."""

COLUMNS = 4
"""Panels side by side."""

TICKS = (0.01, 0.05, 0.25)
"""Input scales that the axis names."""

STYLE = {
    "svg.hashsalt": "vitrtl", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8, "xtick.color": "#444444", "ytick.color": "#444444",
    "axes.labelcolor": "#222222", "grid.color": "#dddddd", "grid.linewidth": 0.6,
    "figure.facecolor": "white", "lines.linewidth": 1.4,
}


def gelu_curves(subjects: Sequence[Subject]) -> Figure:
    """Return the error of each GELU over its input: one panel a build, axes shared."""
    def curve(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
        fmt = subject.spec.in_format
        codes = np.arange(fmt.lo, fmt.hi + 1)
        scale, values = respond(subject, SCALE, codes[None])
        return codes * scale, values[0] - gelu(codes * scale)

    return _panels(subjects, curve, 0.05, "x", "GELU(x) less the exact value",
                   f"Error of each GELU at scale {float(SCALE):g}, every code")


def exponential(subjects: Sequence[Subject]) -> Figure:
    """Return the relative error of the smaller probability of a row of two: one panel a build."""
    def curve(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
        top = subject.spec.in_format.hi
        scale = float(subject.unit.golden.fit_scale(subject.spec, SCALE))
        below = np.arange(min(int(FARTHEST / scale), 2 * top) + 1)
        scale, values = respond(subject, SCALE, np.stack([np.full_like(below, top), top - below],
                                                         axis=-1))
        exact = 1 / (1 + np.exp(below * scale))
        return below * scale, values[:, 1] / exact - 1

    return _panels(subjects, curve, 0.5, "t", "softmax(0, -t) over the exact value, less 1",
                   f"Relative error of the smaller of two probabilities at scale {float(SCALE):g}")


def over_scale(operator: str, found: Iterable[Errors]) -> Figure:
    """Return the largest error over the input scale: one panel a build, all others behind it."""
    lines: dict[tuple[str, str], list[Errors]] = {}
    for e in found:
        if e.operator == operator and not e.refused:
            lines.setdefault((e.method, e.build), []).append(e)
    curves = {}
    for build, measured in lines.items():
        scales = sorted({e.scale for e in measured})
        curves[build] = scales, [worst(e for e in measured if e.scale == scale).largest
                                 for scale in scales]
    with matplotlib.rc_context(STYLE):
        figure, panels = _grid(list(curves), "input scale", "largest absolute error",
                               f"Largest error of each {operator} over its input scale")
        for (axes, colour), (scales, errors) in zip(panels, curves.values(), strict=True):
            for other in curves.values():
                axes.plot(*other, color="#cccccc", linewidth=0.7)
            axes.plot(scales, errors, color=colour)
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(TICKS, [f"{t:g}" for t in TICKS])
            axes.minorticks_off()
    return figure


def save(figure: Figure, stem: Path, **metadata: str) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same figure."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    for path in paths:
        out = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            if path.suffix == ".svg":
                figure.savefig(out, format="svg", metadata={"Date": None, **metadata})
            else:
                figure.savefig(out, format="png", dpi=150, metadata={"Software": None})
        write_if_changed(path, out.getvalue())
    return paths


def _panels(subjects: Sequence[Subject],
            curve: Callable[[Subject], tuple[np.ndarray, np.ndarray]],
            limit: float, xlabel: str, ylabel: str, title: str) -> Figure:
    """Return one panel for each build, with its largest value in red where it leaves the axes."""
    with matplotlib.rc_context(STYLE):
        figure, panels = _grid([(s.unit.method, s.build) for s in subjects], xlabel, ylabel, title)
        for (axes, colour), subject in zip(panels, subjects, strict=True):
            axes.axhline(0, color="#999999", linewidth=0.8)
            axes.set_ylim(-limit, limit)
            try:
                x, y = curve(subject)
            except ValueError:
                text, outside = "refuses this scale", True
            else:
                axes.plot(x, y, color=colour)
                extreme = y[np.abs(y).argmax()]
                text, outside = f"largest {extreme:+.2g}", abs(extreme) > limit
            axes.text(0.99, 0.97, text, transform=axes.transAxes, ha="right", va="top",
                      color="#b00000" if outside else "#444444", fontsize=8)
    return figure


def _grid(builds: Sequence[tuple[str, str]], xlabel: str, ylabel: str,
          title: str) -> tuple[Figure, list[tuple[Axes, str]]]:
    """Return a figure with a panel for each (method, build), and each with its method's colour."""
    columns = min(COLUMNS, len(builds))
    rows = -(-len(builds) // columns)
    figure = Figure(figsize=(2.3 * columns + 0.8, 1.75 * rows + 0.9), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    figure.supxlabel(xlabel, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours: dict[str, str] = {}
    panels = []
    for axes, (method, build) in zip(grid.flat, builds, strict=False):
        colour = colours.setdefault(method, PALETTE[len(colours) % len(PALETTE)])
        axes.set_title(method if build == DEFAULT else f"{method}, {build}", color=colour,
                       loc="left")
        panels.append((axes, colour))
    for axes in grid.flat[len(builds):]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, len(builds) - columns):len(builds)]:
        axes.tick_params(labelbottom=True)
    return figure, panels
