"""Plots of the accelerator's runs: who worked when, and cycles over the memory's speed."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vitrtl.sim.accelerator_cycles import BLOCK, Spans
from vitrtl.sim.accelerator_records import LOAD_PERIOD
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accuracy.plots import PALETTE, STYLE
from vitrtl.sw.files import write_if_changed

__all__ = ["save", "sweep", "timeline"]

WIDTH, ROW = 11.0, 0.34
"""Inches of a figure, and of one engine's row."""

POINTS = 400
"""Points of the curves of load."""


def timeline(program: Program, spans: Spans, array_load: np.ndarray, bus_load: np.ndarray,
             cycles: int) -> Figure:
    """Return what every engine did: the whole run, and one block of it.

    Parameters
    ----------
    array_load, bus_load : as in `Records`.
    cycles : of the run.
    """
    kinds = list(dict.fromkeys(_kind(step.label) for steps in program.steps[1:] for step in steps))
    shades = [*PALETTE, *map(_lighter, PALETTE)]
    colours = {kind: shades[i % len(shades)] for i, kind in enumerate(kinds)}
    windows = [(0, cycles, "the whole run")]
    if block := _block_window(program, spans):
        windows.append(block)
    rows = len(program.steps)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, len(windows) * (rows + 3) * ROW + 1.2),
                        layout="constrained")
        axes = figure.subplots(2 * len(windows), 1, squeeze=False,
                               height_ratios=[rows, 2.2] * len(windows))[:, 0]
        for i, (begin, end, title) in enumerate(windows):
            _engines(axes[2 * i], program, spans, colours, begin, end)
            axes[2 * i].set_title(f"{title}: cycles {begin:,} to {end:,}", loc="left")
            _loads(axes[2 * i + 1], array_load, bus_load, begin, end)
        figure.legend(handles=[Patch(color=colour, label=kind)
                               for kind, colour in colours.items()],
                      loc="outside lower center", ncols=6, frameon=False)
    return figure


def sweep(cycles: Mapping[tuple[int, int], int]) -> Figure:
    """Return the cycles of a run over the memory's latency, a line for each bandwidth.

    Parameters
    ----------
    cycles : by latency in cycles and bandwidth in bytes a cycle.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for i, bandwidth in enumerate(sorted({b for _, b in cycles})):
            points = sorted((latency, count) for (latency, b), count in cycles.items()
                            if b == bandwidth)
            axes.plot(*zip(*points, strict=True), marker="o", color=PALETTE[i],
                      label=f"{bandwidth} bytes a cycle")
        axes.set_xlabel("latency of the memory, cycles")
        axes.set_ylabel("cycles of an image")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.legend(frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same figure."""
    text = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    write_if_changed(path, text.getvalue())


def _kind(label: str) -> str:
    """Return the last part of a layer's name, which all blocks share."""
    return re.sub(r".*\.\d+\.", "", label.split()[0])


def _lighter(colour: str) -> str:
    """Return a colour half way to white."""
    return to_hex((np.array(to_rgb(colour)) + 1) / 2)


def _block_window(program: Program, spans: Spans) -> tuple[int, int, str] | None:
    """Return first and last cycle of the second block, or of the first if it is the only one."""
    found: dict[int, list[np.ndarray]] = {}
    for steps, times in zip(program.steps[1:], spans[1:], strict=True):
        for step, span in zip(steps, times, strict=True):
            if step.node and (match := BLOCK.search(step.label)):
                found.setdefault(int(match[1]), []).append(span)
    if not found:
        return None
    number = sorted(found)[:2][-1]
    times = np.array(found[number])
    return int(times[:, 0].min()), int(times[:, 1].max()), f"block {number}"


def _engines(axes: Axes, program: Program, spans: Spans, colours: Mapping[str, str], begin: int,
             end: int) -> None:
    names = [program.spec.engine_name(i) for i in range(len(program.steps))]
    for row, (steps, times) in enumerate(zip(program.steps, spans, strict=True)):
        parts: dict[str, list[tuple[int, int]]] = {}
        for step, (first, last) in zip(steps, times, strict=True):
            if first <= end and last >= begin:
                colour = "#bbbbbb" if row == 0 else colours[_kind(step.label)]
                parts.setdefault(colour, []).append((first, last - first + 1))
        for colour, pieces in parts.items():
            axes.broken_barh(_joined(pieces, (end - begin) / 2000), (row - 0.4, 0.8),
                             facecolors=colour, linewidth=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(begin, end)
    axes.set_xticklabels([])


def _joined(pieces: list[tuple[int, int]], gap: float) -> list[tuple[int, int]]:
    """Return pieces with those taken together that no eye would tell apart."""
    found: list[tuple[int, int]] = []
    for first, length in sorted(pieces):
        if found and first - sum(found[-1]) < gap:
            before = found[-1][0]
            found[-1] = (before, max(sum(found[-1]), first + length) - before)
        else:
            found.append((first, length))
    return found


def _loads(axes: Axes, array_load: np.ndarray, bus_load: np.ndarray, begin: int, end: int) -> None:
    for load, colour, name in ((array_load, PALETTE[0], "array"), (bus_load, PALETTE[1], "bus")):
        part = load[begin // LOAD_PERIOD:-(-end // LOAD_PERIOD)]
        step = max(1, len(part) // POINTS)
        part = part[:len(part) // step * step].reshape(-1, step).sum(axis=1)
        at = begin + (np.arange(len(part)) + 0.5) * step * LOAD_PERIOD
        axes.plot(at, 100 * part / (step * LOAD_PERIOD), color=colour, label=name, linewidth=0.9)
    axes.set_xlim(begin, end)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, 105)
    axes.set_ylabel("beats,\n% of cycles")
    axes.legend(frameon=False, ncols=2, loc="lower right")
