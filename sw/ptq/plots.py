"""Plots of a search: sensitivity by layer and method, proxies, the front."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrtl.sw.accuracy.plots import PALETTE, STYLE

if TYPE_CHECKING:
    from vitrtl.sw.ptq.sensitivity import Sensitivity

__all__ = ["Mark", "distribution", "front", "network_noise", "proxies", "sensitivity"]

DASHES = ("-", "--", ":")
"""Lines of the methods beyond the colours that there are."""

OURS = "#d62728"
"""Red, as the Mixed paper draws its own choice."""

Mark = tuple[str, float, float]
"""Name, area and error of a network."""


def sensitivity(operator: str, records: "Sequence[Sensitivity]") -> Figure:
    """Return SQNR output and SQNR diff by layer, a line and bars for each method.

    As Fig. 1 of Mixed Non-linear Quantization: each method in the network that uses it for the
    whole operator. Variants are left to the tables.
    """
    records = [r for r in records if r.operator == operator and r.candidate == r.unit]
    layers = list(dict.fromkeys(r.layer for r in records))
    methods = list(dict.fromkeys(r.unit for r in records))
    with matplotlib.rc_context(STYLE):
        width = max(7.6, 0.11 * len(layers) * len(methods))
        figure = Figure(figsize=(width, 5.4), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        bar = 0.85 / len(methods)
        for i, method in enumerate(methods):
            of_method = {r.layer: r for r in records if r.unit == method}
            colour, dash = _style(i)
            above.plot(range(len(layers)), [of_method[name].asqnr_out for name in layers],
                       color=colour, linestyle=dash, marker="o", markersize=3,
                       label=method.removeprefix(f"{operator}_"))
            below.bar(np.arange(len(layers)) + (i + 0.5) * bar - 0.425,
                      [of_method[name].sqnr_diff for name in layers], bar, color=colour,
                      hatch=None if dash == "-" else "///", edgecolor="white", linewidth=0.2)
        above.set_ylabel("ASQNR output")
        above.set_title(f"{operator}: what each method leaves of the signal, and what it loses",
                        loc="left")
        above.legend(ncols=2, fontsize=7, frameon=False, loc="center left",
                     bbox_to_anchor=(1.0, 0.5))
        below.set_ylabel("SQNR diff, in minus out")
        below.axhline(0, color="#666666", linewidth=0.6)
        _name_layers(below, layers)
        for axes in (above, below):
            axes.grid(axis="y")
            axes.set_axisbelow(True)
    return figure


def distribution(records: "Sequence[Sensitivity]") -> Figure:
    """Return SQNR diff over the layers, a box for each candidate: what no average shows."""
    operators = list(dict.fromkeys(r.operator for r in records))
    with matplotlib.rc_context(STYLE):
        counts = [len({r.candidate for r in records if r.operator == o}) for o in operators]
        figure = Figure(figsize=(max(7.6, 0.32 * sum(counts)), 4.2), layout="constrained")
        panels = figure.subplots(1, len(operators), squeeze=False, width_ratios=counts)[0]
        for axes, operator in zip(panels, operators, strict=True):
            values: dict[str, list[float]] = {}
            for r in records:
                if r.operator == operator:
                    name = r.candidate.removeprefix(f"{operator}_")
                    values.setdefault(name, []).append(r.sqnr_diff)
            axes.boxplot(list(values.values()), tick_labels=list(values), widths=0.6,
                         medianprops={"color": OURS}, flierprops={"markersize": 3})
            axes.tick_params(axis="x", rotation=90, labelsize=7)
            axes.set_title(operator)
            axes.grid(axis="y")
        panels[0].set_ylabel("SQNR diff of a layer, in minus out")
    return figure


def network_noise(noise: Mapping[str, Mapping[str, float]], operators: Mapping[str, str],
                  ours: str) -> Figure:
    """Return SQNR output by layer, a line for each network.

    As Fig. 3 of Mixed Non-linear Quantization.

    Parameters
    ----------
    noise : ASQNR of each layer's output, by network.
    operators : operator of each layer.
    ours : name of the network that is drawn in red.
    """
    with matplotlib.rc_context(STYLE):
        kinds = list(dict.fromkeys(operators.values()))
        figure = Figure(figsize=(8.4, 6.4), layout="constrained")
        panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
        for axes, kind in zip(panels, kinds, strict=True):
            layers = [layer for layer, operator in operators.items() if operator == kind]
            for i, (name, of_layer) in enumerate(noise.items()):
                colour, dash = (OURS, "-") if name == ours else _style(i, skip=OURS)
                axes.plot(range(len(layers)), [of_layer[layer] for layer in layers], color=colour,
                          linestyle=dash, marker="o", markersize=3, label=name,
                          linewidth=2.2 if name == ours else 1.2,
                          zorder=3 if name == ours else 2)
            axes.set_ylabel(f"{kind}\nASQNR output")
            axes.grid(axis="y")
            _name_layers(axes, layers)
        panels[0].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        panels[0].set_title("Signal over noise of each layer's output in each network", loc="left")
    return figure


def proxies(sums: Mapping[str, Sequence[float]], errors: Sequence[float],
            titles: Mapping[str, str], chosen: str) -> Figure:
    """Return the logits' error of random networks over the sum of each proxy.

    Parameters
    ----------
    sums : of each network, by proxy.
    errors : of each network's logits.
    titles : what is written above each panel.
    chosen : the proxy that is minimised, drawn in red.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.4 * len(sums), 2.9), layout="constrained")
        panels = figure.subplots(1, len(sums), squeeze=False, sharey=True)[0]
        for axes, (name, values) in zip(panels, sums.items(), strict=True):
            axes.scatter(values, errors, s=12, color=OURS if name == chosen else PALETTE[0])
            axes.set(yscale="log", xscale="log" if min(values) > 0 else "linear")
            axes.set_title(titles[name], fontsize=8)
            axes.set_xlabel(f"sum of {name}", fontsize=7.5)
            axes.tick_params(labelsize=7, which="both")
            axes.grid()
        panels[0].set_ylabel("error of the logits")
    return figure


def front(joint: Sequence[Mark], others: Mapping[str, Sequence[Mark]], area: str,
          error: str) -> Figure:
    """Return error over area: the joint search's points as a line, other answers as marks.

    Parameters
    ----------
    joint : points of the front.
    others : groups of networks by what they are; those of one network are named.
    area, error : what the axes say.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 4.8), layout="constrained")
        axes = figure.subplots()
        axes.plot([m[1] for m in joint], [m[2] for m in joint], color=OURS, marker="o",
                  markersize=5, zorder=4, label="joint search")
        for i, (group, marks) in enumerate(others.items()):
            colour, shape = PALETTE[i % len(PALETTE)], "s^Dv*PX<>"[i % 9]
            axes.scatter([m[1] for m in marks], [m[2] for m in marks], s=34, color=colour,
                         marker=shape, label=group, zorder=3, edgecolor="white", linewidth=0.5)
            if i < 2:
                for name, x, y in marks:
                    axes.annotate(name, (x, y), (5, 3), textcoords="offset points", fontsize=6.5,
                                  color=colour)
        axes.set(xscale="log", yscale="log", xlabel=area, ylabel=error)
        axes.grid(which="both")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _style(place: int, skip: str = "") -> tuple[str, str]:
    """Return colour and line of one of many."""
    colours = [colour for colour in PALETTE if colour != skip]
    return colours[place % len(colours)], DASHES[place // len(colours) % len(DASHES)]


def _name_layers(axes: Axes, layers: Sequence[str]) -> None:
    """Write the layers' names below the axis."""
    axes.set_xticks(range(len(layers)), [name.removeprefix("blocks.") for name in layers],
                    rotation=90 if len(layers) > 8 else 0, fontsize=7)
