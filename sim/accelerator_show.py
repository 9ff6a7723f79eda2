"""Runs of the accelerator on the terminal: progress while they go on, tables when they are over."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vitrtl.sim.accelerator_cycles import LayerCycles, merged

__all__ = ["RunProgress", "image_table", "layer_table", "summary", "sweep_table"]

MOST_LAYERS = 40
"""Lines of the table of layers; beyond, those of all blocks are taken together."""

BEST = 4
"""Logits that are printed of a network with many classes."""


class RunProgress:
    """A line that says what goes on, with a bar while cycles are simulated; plain lines where there
    is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._begin = time.monotonic()
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(),
                                  TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
                                  console=self._console, transient=True)
        self._task = self._progress.add_task("", total=None, note="")
        self._simulating: float | None = None

    def __enter__(self) -> "RunProgress":
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()

    def stage(self, text: str, cycles: int | None = None) -> None:
        """Say what begins now.

        Parameters
        ----------
        cycles : that it will take, if known.
        """
        self._simulating = None
        self._progress.reset(self._task, total=cycles, description=text, note="")
        if not self._live:
            seconds = time.monotonic() - self._begin
            self._console.print(f"[{seconds:5.0f} s] {text}", markup=False, highlight=False)

    def cycles(self, done: int) -> None:
        """Show how many cycles have been simulated."""
        if self._simulating is None and done:
            self._simulating = time.monotonic()
        seconds = time.monotonic() - (self._simulating or time.monotonic())
        rate = f", {done / seconds / 1e3:,.0f} k cycles/s" if seconds > 1 else ""
        self._progress.update(self._task, completed=done, note=f"{done:,} cycles{rate}")


def image_table(record: dict[str, Any]) -> Table:
    """Return what became of every image."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("image", "label", "class"):
        table.add_column(name, justify="right")
    table.add_column("logits")
    for name in ("cycles", "values\ncompared", "mis-\nmatches"):
        table.add_column(name, justify="right")
    for image in record["images"]:
        table.add_row(
            str(image["image"]), _optional(image["label"]), str(image["class"]),
            _logits(image["logits"]), f"{image['cycles']:,}", f"{image['values']:,}",
            str(image["mismatches"]))
    return table


def layer_table(record: dict[str, Any]) -> Table:
    """Return where the cycles went."""
    layers = [LayerCycles(**fields) for fields in record["layers"]]
    if len(layers) > MOST_LAYERS:
        layers = merged(layers)
    size = record["spec"]["size"]
    total = LayerCycles(name="all", macs=sum(layer.macs for layer in layers),
                        predicted=sum(layer.predicted for layer in layers),
                        simulated=sum(layer.simulated for layer in layers))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption_justify="left", caption=(
        "A layer's cycles: from where the array ended the one before to where it ends this one, "
        "waiting included. Utilization: useful multiplications per multiplier and cycle"
        + (", up to two with paired weights." if record["spec"].get("paired") else ".")))
    table.add_column("layer")
    for name in ("multipli-\ncations", "cycles\npredicted", "cycles\nsimulated", "differ-\nence",
                 "share", "utili-\nzation"):
        table.add_column(name, justify="right")
    for layer in [*layers, total]:
        if layer is total:
            table.add_section()
        table.add_row(
            layer.name, f"{layer.macs:,}", f"{layer.predicted:,}", f"{layer.simulated:,}",
            f"{100 * layer.difference:+.1f} %", f"{100 * layer.simulated / total.simulated:.1f} %",
            f"{100 * layer.utilization(size):.1f} %" if layer.macs else "")
    return table


def sweep_table(record: dict[str, Any]) -> Table:
    """Return cycles over latency and bandwidth of the memory."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("latency,\ncycles", "bytes\na cycle", "cycles\npredicted", "cycles\nsimulated",
                 "of the\nfastest", "values\ncompared", "mis-\nmatches"):
        table.add_column(name, justify="right")
    fastest = min(point["cycles"] for point in record["sweep"])
    for point in record["sweep"]:
        table.add_row(str(point["latency"]), str(point["bandwidth"]),
                      f"{point['predicted']:,}", f"{point['cycles']:,}",
                      f"{100 * point['cycles'] / fastest:.1f} %", f"{point['values']:,}",
                      str(point["mismatches"]))
    return table


def summary(record: dict[str, Any]) -> list[str]:
    """Return the lines under the tables."""
    spec, usage = record["spec"], record["usage"]
    network, size = record["network"], spec["size"]
    lines = [f"{network['name']} {network['digest']} on {size} x {size} multipliers, "
             + ("paired weights, " if spec.get("paired") else "") + record["device"]]
    if usage is not None:
        lines.append(
            f"utilization {100 * usage['utilization']:.1f} %; the array takes activations in "
            f"{100 * usage['array']:.1f} % of {usage['cycles']:,} cycles, and waits for a vector "
            f"engine in {100 * usage['exposed']:.1f} %")
        lines.append("at work: " + ", ".join(
            f"{name} {100 * share:.0f} %" for name, share in usage["engines"].items()))
    if record["images_per_second"] is not None:
        lines.append(f"{record['images_per_second']:,.1f} images/s at "
                     f"{record['clock_mhz']:g} MHz ({record['clock_source']})")
    return lines


def _logits(values: Sequence[int]) -> str:
    if len(values) <= 2 * BEST + 2:
        return " ".join(map(str, values))
    best = sorted(range(len(values)), key=lambda i: -values[i])[:BEST]
    return ", ".join(f"{i}: {values[i]}" for i in best) + ", ..."


def _optional(value: object) -> str:
    return "" if value is None else str(value)
