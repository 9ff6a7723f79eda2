"""`vitrtl run`: a whole network on the gates of the accelerator."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from vitrtl.sim.accelerator_record import Clock
    from vitrtl.sim.accelerator_run import Gates, ImageResult
    from vitrtl.sim.accelerator_show import RunProgress
    from vitrtl.sw.accelerator.predict import Bus
    from vitrtl.sw.accelerator.program import Program
    from vitrtl.sw.accelerator.spec import AcceleratorSpec
    from vitrtl.sw.network import IntegerNetwork

HELP = "Run a whole network on the accelerator's Verilog, compare every layer, count cycles."
EPILOG = """The network is compiled for an accelerator that suits it, the accelerator is built in
Verilator, and images go through it, patches to logits. Whatever it writes to its memories is
compared with the golden network bit for bit: every layer boundary, every token, every channel.

  vitrtl run build/network --images 32
  vitrtl run build/deit --size 16 --latency 50
  vitrtl run build/network --layer blocks.1.attn.softmax.requantize --waves
  vitrtl run build/network --size 16 --sweep

OUT holds run.json (all that is printed), timeline.svg (who worked when) and what --layer, --waves
and --sweep ask for. What has not changed since it was run is not run again. Exit status 1 if
anything differs."""

LATENCIES, BANDWIDTHS = (0, 50, 200), (4, 8, 16)
"""What --sweep goes through, cycles and bytes a cycle."""

PAUSES = (20_000, 20_000)
"""Chance of a pause on a channel of the bus to begin and to end, in 1/65536 a cycle."""

FEW_CYCLES = 300_000
"""Below these a simulator that is built quickly is done earlier than one that runs quickly."""

FILE_WIDTH = 132
"""Columns of the tables where they do not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("network", nargs="?", type=Path, default=Path("build/network"),
                        metavar="NETWORK", help="folder that `vitrtl quantize` wrote "
                                                "(default: %(default)s)")
    parser.add_argument("--images", default="1", metavar="N|FILE",
                        help="test images, evenly from all; or an image file, or .npy of pixels, "
                             "u8 (images, channels, height, width) (default: %(default)s)")
    parser.add_argument("--data", metavar="FOLDER",
                        help="where the images that the network was made from are now")
    parser.add_argument("--size", type=int, metavar="N",
                        help="rows and columns of the array: 8, 16 or 32 (default: 8)")
    parser.add_argument("--spec", type=Path, metavar="FILE",
                        help="numbers of the accelerator, as in a run.json, program.json or alone; "
                             "else they follow from network and size")
    parser.add_argument("--device", default="generic", choices=("generic", "ecp5"),
                        help="what the Verilog is for (default: %(default)s)")
    parser.add_argument("--latency", type=int, default=0, metavar="CYCLES",
                        help="by which the memory answers later than it could "
                             "(default: %(default)s)")
    parser.add_argument("--bandwidth", type=int, metavar="BYTES",
                        help="that the memory reads or writes in a cycle (default: all that the "
                             "bus has)")
    parser.add_argument("--pauses", type=int, metavar="SEED",
                        help="random pauses on every channel of the bus")
    parser.add_argument("--sweep", action="store_true",
                        help="the first image under latencies of 0, 50 and 200 cycles and "
                             "bandwidths of 4, 8 and 16 bytes a cycle, as far as the bus goes")
    parser.add_argument("--layer", metavar="NODE",
                        help="save what gates and golden network have for this node of the first "
                             "image, to OUT/NODE.npz")
    parser.add_argument("--waves", action="store_true",
                        help="with --layer: a waveform of its cycles, OUT/NODE.vcd")
    parser.add_argument("--clock", type=float, metavar="MHZ",
                        help="for images/s (default: from the cost table, if it has this "
                             "accelerator)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="simulators at once (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=Path("build/sim"), metavar="FOLDER",
                        help="where simulators are built and kept (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="where the results go (default: build/run/NAME)")


def run(args: argparse.Namespace) -> int:
    """Compile, build, run, compare, print."""
    import sys

    from rich.console import Console

    from vitrtl.sim.accelerator_record import is_current
    from vitrtl.sim.accelerator_show import (
        RunProgress,
        image_table,
        layer_table,
        summary,
        sweep_table,
    )
    from vitrtl.sim.build import BuildError
    from vitrtl.sim.toolchain import require_programs
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import json_text, read_json, write_if_changed
    from vitrtl.sw.network import load as load_network

    if args.waves and args.layer is None:
        raise UserError("a waveform is of one layer: --layer NODE")
    if args.jobs < 1:
        raise UserError(f"jobs must be at least 1, not {args.jobs}")
    if args.clock is not None and args.clock <= 0:
        raise UserError(f"clock must be more than 0 MHz, not {args.clock:g}")
    network = load_network(args.network)
    spec = _spec(args, network)
    pixels, names, labels = _images(args, network)
    out = args.out or Path("build/run") / network.name
    key = _key(args, network, spec, pixels)
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    path = out / "run.json"
    begin = _now()
    if path.is_file() and is_current(known := read_json(path), key) and not args.waves:
        record, again = known, True
    else:
        require_programs()
        again = False
        try:
            with RunProgress() as progress:
                record = _run(args, network, spec, pixels, names, labels, out, progress)
        except BuildError as error:
            raise UserError(str(error)) from None
        record["key"] = key
        write_if_changed(path, json_text(record))
    console.print(image_table(record))
    if record["layers"]:
        console.print(layer_table(record))
    if record["sweep"]:
        console.print(sweep_table(record))
    for line in summary(record):
        console.print(line, highlight=False)
    entries = [*record["images"], *record["sweep"]]
    for entry in entries:
        for line in entry["troubles"]:
            where = (f"image {entry['image']}" if "image" in entry else
                     f"latency {entry['latency']}, {entry['bandwidth']} bytes a cycle")
            console.print(f"FAILED {where}: {line}", soft_wrap=True, markup=False,
                          highlight=False)
    for name in record["files"]:
        console.print(f"{out / name}", highlight=False)
    mismatches = sum(entry["mismatches"] for entry in entries)
    values = sum(entry["values"] for entry in entries)
    state = "unchanged" if again else f"{_now() - begin:.0f} s"
    console.print(f"{mismatches} mismatches in {values:,} values compared; {len(entries)} runs, "
                  f"{sum(bool(entry['troubles']) for entry in entries)} failed; {state}",
                  highlight=False)
    return 0 if record["passed"] else 1


def _now() -> float:
    import time

    return time.monotonic()


def _spec(args: argparse.Namespace, network: "IntegerNetwork") -> "AcceleratorSpec":
    """Return the accelerator's numbers."""
    from vitrtl.sw.accelerator.sizing import size_accelerator
    from vitrtl.sw.accelerator.spec import AcceleratorSpec
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import read_json

    if args.spec is None:
        return size_accelerator(network, **({} if args.size is None else {"size": args.size}))
    fields = read_json(args.spec)
    if isinstance(fields, dict) and isinstance(fields.get("spec"), dict):
        fields = fields["spec"]
    try:
        spec = AcceleratorSpec.fromdict(fields)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{args.spec} holds no accelerator: {error}") from None
    if args.size not in (None, spec.size):
        raise UserError(f"size must be {spec.size}, as {args.spec} says, not {args.size}")
    return spec


def _images(args: argparse.Namespace, network: "IntegerNetwork"
            ) -> "tuple[np.ndarray, list[str], list[int | None]]":
    """Return pixels, names and labels of the images."""
    import numpy as np

    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.images import RANDOM, Preprocessing, images_of

    shape = network.values[network.input].shape
    if args.images.isdecimal():
        images = images_of(network, args.data)
        count = int(args.images)
        if not 1 <= count <= len(images.test):
            raise UserError(f"images must be 1..{len(images.test)} (the test part of "
                            f"{images.name}), not {count}")
        ids = images.test[np.linspace(0, len(images.test) - 1, count).round().astype(int)]
        labels = [None if images.name == RANDOM else int(images.labels[i]) for i in ids]
        return np.asarray(images.pixels[ids]), [str(i) for i in ids], labels
    path = Path(args.images)
    if not path.is_file():
        raise UserError(f"images must be a number or a file, but there is no file {path}")
    if path.suffix != ".npy":
        says = network.provenance.get("preprocessing", {})
        pixels = Preprocessing.fromdict({"shape": shape, **says}).decoder()(path)
        return pixels[np.newaxis], [path.name], [None]
    try:
        pixels = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape or not len(pixels):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"{path} must hold uint8 of shape (images, {wanted}), not {pixels.dtype} "
                        f"of {pixels.shape}")
    return pixels, [f"{path.name} {i}" for i in range(len(pixels))], [None] * len(pixels)


def _key(args: argparse.Namespace, network: "IntegerNetwork", spec: "AcceleratorSpec",
         pixels: "np.ndarray") -> str:
    """Return a checksum of all that decides the outcome."""
    from vitrtl.sim.accelerator_build import BENCH
    from vitrtl.sim.build import rtl_sources
    from vitrtl.sim.toolchain import versions
    from vitrtl.sw.files import digest, digest_files, json_text
    from vitrtl.sw.sources import digest_module

    modules = ("vitrtl.sw.commands.run", f"vitrtl.sim.benches.{BENCH}",
               "vitrtl.hw.accelerator.verilog")
    return digest(network.digest, spec.digest, pixels.tobytes(), digest_files(rtl_sources(BENCH)),
                  *map(digest_module, modules), json_text(versions()),
                  repr((args.device, args.latency, args.bandwidth, args.pauses, args.sweep,
                        args.layer, args.clock)))


def _run(args: argparse.Namespace, network: "IntegerNetwork", spec: "AcceleratorSpec",
         pixels: "np.ndarray", names: "Sequence[str]", labels: "Sequence[int | None]", out: Path,
         progress: "RunProgress") -> dict[str, Any]:
    """Return the record of the runs; files go to `out`."""
    import dataclasses

    from vitrtl.sim.accelerator_plots import save, timeline
    from vitrtl.sim.accelerator_record import record_of
    from vitrtl.sim.accelerator_run import Gates, memory_bus
    from vitrtl.sw.accelerator.compiler import compile_network
    from vitrtl.sw.accelerator.predict import predict

    bus = memory_bus(spec, args.latency, args.bandwidth)
    progress.stage("compiling the network")
    program = compile_network(network, spec)
    if args.layer is not None:
        _check_layer(args.layer, program)
    count = len(pixels)
    cycles = count * predict(program, bus).cycles
    points = _points(spec) if args.sweep else {}
    sweep_cycles = sum(predict(program, bus).cycles for bus in points.values())
    progress.stage("generating Verilog")
    gates = Gates(network, program, args.device, args.build,
                  quick=cycles + sweep_cycles < FEW_CYCLES)
    progress.stage("building the simulator")
    gates.build(count)
    progress.stage(f"simulating {count} image{'s' * (count > 1)}", cycles)
    settings = {} if args.pauses is None else {
        "seed": args.pauses, "enter": PAUSES[0], "leave": PAUSES[1]}
    results = []
    for result in gates.run(pixels, (bus,), processes=args.jobs, progress=progress.cycles,
                            **settings):
        # Records are large, and only the first image's are looked at again.
        results.append(result if result.image == 0 else dataclasses.replace(result, records=None))
    record = record_of(network, program, args.device, bus, results, names, labels,
                       _clock(args, spec))
    record |= {"files": ["run.json"], "sweep": []}
    first = min(results, key=lambda result: result.image)
    if record["layers"]:
        from vitrtl.sim.accelerator_cycles import simulated_spans

        save(timeline(program, simulated_spans(first.records), first.records.array_load,
                      first.records.bus_load, first.result.cycles), out / "timeline.svg")
        record["files"].append("timeline.svg")
    if args.layer is not None:
        record["files"] += _layer(args, gates, pixels[0], first, bus, settings, out, progress)
    if args.sweep:
        progress.stage(f"simulating {len(points)} kinds of memory", sweep_cycles)
        record["sweep"] = _sweep(args, gates, pixels[:1], points, out, progress)
        record["passed"] &= not any(point["troubles"] for point in record["sweep"])
        record["files"].append("sweep.svg")
    return record


def _check_layer(name: str, program: "Program") -> None:
    import difflib

    from vitrtl.sim.accelerator_compare import stored_nodes
    from vitrtl.sw.errors import UserError

    nodes = stored_nodes(program)
    if name not in nodes:
        near = difflib.get_close_matches(name, sorted(nodes), 5, 0.3)
        raise UserError(f"layer must be a node whose value the gates store, such as "
                        f"{', '.join(near or sorted(nodes)[:5])}; not {name}")


def _layer(args: argparse.Namespace, gates: "Gates", image: "np.ndarray", result: "ImageResult",
           bus: "Bus", settings: dict[str, int], out: Path, progress: "RunProgress") -> list[str]:
    """Save what a layer gave, and a waveform of it; return the files' names."""
    import io

    import numpy as np

    from vitrtl.sim.accelerator_cycles import node_window
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed

    ours, golden = gates.layer(result, image, args.layer)
    content = io.BytesIO()
    np.savez_compressed(content, gates=ours, golden=golden)
    write_if_changed(out / f"{args.layer}.npz", content.getvalue())
    files = [f"{args.layer}.npz"]
    if args.waves:
        window = node_window(gates.program, result.records, args.layer)
        if window is None:
            raise UserError(f"{args.layer} was not computed, so there is nothing to see of it")
        progress.stage(f"waveform of cycles {window[0]:,} to {window[1]:,}", window[1])
        gates.waveform(image, bus, window, out / f"{args.layer}.vcd", progress.cycles, **settings)
        files.append(f"{args.layer}.vcd")
    return files


def _points(spec: "AcceleratorSpec") -> "dict[tuple[int, int], Bus]":
    """Return the memories of a sweep, by latency and bytes a cycle."""
    from vitrtl.sim.accelerator_run import memory_bus

    return {(latency, bandwidth): memory_bus(spec, latency, bandwidth)
            for bandwidth in BANDWIDTHS if bandwidth <= spec.bus_bytes for latency in LATENCIES}


def _sweep(args: argparse.Namespace, gates: "Gates", pixels: "np.ndarray",
           points: "dict[tuple[int, int], Bus]", out: Path,
           progress: "RunProgress") -> list[dict[str, Any]]:
    """Run one image from many memories, plot the cycles."""
    from vitrtl.sim.accelerator_plots import save, sweep
    from vitrtl.sim.accelerator_record import sweep_points

    found = {result.bus: result for result in gates.run(
        pixels, list(points.values()), processes=args.jobs, progress=progress.cycles)}
    results = {point: found[bus] for point, bus in points.items()}
    save(sweep({point: result.result.cycles for point, result in results.items()}),
         out / "sweep.svg")
    return sweep_points(results, gates.program)


def _clock(args: argparse.Namespace, spec: "AcceleratorSpec") -> "Clock | None":
    """Return the clock that the user states, or else the cost table."""
    from vitrtl.sim.accelerator_record import Clock
    from vitrtl.sw.cost.accelerator import ACCELERATOR
    from vitrtl.sw.cost.table import load_table

    if args.clock is not None:
        return Clock(args.clock, "as stated")
    for row in load_table().rows:
        if row.unit == ACCELERATOR and row.spec_digest == spec.digest and row.clock_mhz:
            return Clock(row.clock_mhz, f"cost table, {row.target}")
    return None
