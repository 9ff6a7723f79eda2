"""What whole networks did on the accelerator, and how it is programmed, as Markdown."""

from collections.abc import Callable
from typing import Any

from vitrtl.sw.accelerator.isa import BASES, FIELDS, MEMORIES, MODES, OPCODES, VECTOR, words_of
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import ARRAY, DMA
from vitrtl.sw.cost.accelerator import ACCELERATOR
from vitrtl.sw.cost.table import load_table
from vitrtl.sw.errors import UserError
from vitrtl.sw.markdown import table

__all__ = ["code_table", "cost_table", "instruction_table", "layer_table", "rate_table",
           "run_table", "sweep_table"]

Read = Callable[[str], Any]
"""`read(path)` gives the JSON at a path below the build folder, None if there is none."""

VERSION = 1
"""Of the file that a run leaves."""

ENGINES = {DMA: "DMA", ARRAY: "array", VECTOR: "vector engines"}


def run_table(read: Read, *folders: str) -> str | None:
    """Return one line for each network that was run; the folders are below the build folder."""
    runs = [_run(read, folder) for folder in folders]
    if None in runs:
        return None
    rows = []
    for run in runs:
        size, usage, images = run["spec"]["size"], run["usage"], run["images"]
        cycles = run["cycles"]
        clock = run["clock_mhz"]
        rows.append([
            f"`{run['network']['name']}`",
            f"{size} x {size}" + (", s4 weights paired" if run["spec"].get("paired") else ""),
            str(len(images)),
            f"{sum(image['values'] for image in images):,}",
            str(sum(image["mismatches"] for image in images)), f"{cycles['predicted']:,}",
            f"{cycles['simulated']:,}",
            f"{cycles['predicted'] / cycles['simulated'] - 1:+.1%}",
            f"{usage['utilization']:.1%}", f"{usage['exposed']:.1%}",
            "-" if clock is None else f"{clock:.1f}",
            "-" if clock is None else f"{run['images_per_second']:.0f}"])
    return table(["network", "array", "images", "values compared", "mismatches",
                  "cycles predicted", "cycles simulated", "difference", "utilization",
                  "waits for a vector engine", "MHz on ecp5-85k", "images/s"], rows)


def layer_table(read: Read, folder: str) -> str | None:
    """Return where the cycles of a run went, blocks of the transformer together."""
    from vitrtl.sim.accelerator_cycles import LayerCycles, merged

    run = _run(read, folder)
    if run is None:
        return None
    layers = merged([LayerCycles(**fields) for fields in run["layers"]])
    size, whole = run["spec"]["size"], sum(layer.simulated for layer in layers)
    return table(["layer", "multiplications", "cycles predicted", "cycles simulated",
                  "share", "utilization"],
                 [[f"`{layer.name}`" if layer.macs else layer.name, f"{layer.macs:,}",
                   f"{layer.predicted:,}", f"{layer.simulated:,}",
                   f"{layer.simulated / whole:.1%}",
                   f"{layer.utilization(size):.1%}" if layer.macs else ""] for layer in layers])


def sweep_table(read: Read, folder: str) -> str | None:
    """Return the cycles of one image by latency and bandwidth of the memory."""
    run = _run(read, folder)
    if run is None or not run["sweep"]:
        return None
    points = run["sweep"]
    latencies = list(dict.fromkeys(point["latency"] for point in points))
    cycles = {(p["bandwidth"], p["latency"]): p["cycles"] for p in points}
    grid = table(["bytes a cycle", *(f"latency {latency}" for latency in latencies)],
                 [[str(bandwidth), *(f"{cycles[bandwidth, latency]:,}" for latency in latencies)]
                  for bandwidth in dict.fromkeys(p["bandwidth"] for p in points)])
    mismatches, values = (sum(point[name] for point in points)
                          for name in ("mismatches", "values"))
    return f"{grid}\n{mismatches} mismatches in {values:,} values compared.\n"


def instruction_table() -> str:
    """Return the fields of all instructions, with their bits."""
    rows = []
    for engine, name in ENGINES.items():
        fields, place = [], 0
        for field, bits in FIELDS[engine]:
            end = place + bits - 1
            fields.append(f"`{field}` {place if bits == 1 else f'{end}..{place}'}")
            place = end + 1
        rows.append([name, str(words_of(engine)), ", ".join(fields)])
    return table(["engine", "64-bit words", "fields and their bits"], rows)


def code_table() -> str:
    """Return what the codes in instructions and in STATUS stand for."""
    codes = {"`opcode`": OPCODES, "`base`": BASES, "`memory`": MEMORIES, "`mode`": MODES,
             "fault in `STATUS`": FAULTS}
    return table(["field", "codes"],
                 [[name, ", ".join(f"{code} {meaning}" for meaning, code in known.items())]
                  for name, known in codes.items()])


def cost_table() -> str | None:
    """Return the rows of the shipped cost table that are whole accelerators."""
    rows = [row for row in load_table().rows if row.unit == ACCELERATOR]
    if not rows:
        return None
    return table(["target", "array", "LUT4eq", "FF", "DSP", "BRAM", "MHz", "cycles for an image"],
                 [[row.target, f"{row.spec['size']} x {row.spec['size']}", f"{row.area:,}",
                   f"{row.resources['ff']:,}", str(row.resources["dsp"]),
                   str(row.resources["bram"]), f"{row.clock_mhz:.1f}", f"{int(row.cycles):,}"]
                  for row in rows])


def rate_table(read: Read, folder: str, board: str) -> str | None:
    """Return how many images a second a network on a board takes, and how busy its array is.

    Parameters
    ----------
    folder : of a run of the network, which counts its multiplications.
    board : that it was built for.
    """
    run = _run(read, folder)
    if run is None:
        return None
    name, size = run["network"]["name"], run["spec"]["size"]
    built = read(f"boards/{board}/{name}/build.json")
    rows = [row for row in load_table().rows if (row.unit, row.method) == (ACCELERATOR, name)]
    if built is None or not rows:
        return None
    cycles, macs = int(rows[0].cycles), sum(layer["macs"] for layer in run["layers"])
    return table(["network", "board", "cycles an image", "images/s at the board's clock",
                  "at the clock that it reaches", "multiplications an image",
                  f"multiplications a cycle, of the {size * size} at the array's peak"],
                 [[f"`{name}`", f"`{board}`", f"{cycles:,}",
                   f"{built['required_mhz'] * 1e6 / cycles:.0f}",
                   f"{built['clock_mhz'] * 1e6 / cycles:.0f}", f"{macs:,}",
                   f"{macs / cycles:.1f} ({macs / cycles / size**2:.1%})"]])


def _run(read: Read, folder: str) -> dict[str, Any] | None:
    run = read(f"{folder}/run.json")
    if run is not None and run.get("version") != VERSION:
        raise UserError(f"{folder}/run.json must have version {VERSION}, not "
                        f"{run.get('version')!r}")
    return run
