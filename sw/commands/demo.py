"""`vitrtl demo`: digits on a board: images in over the serial port, classes out."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from vitrtl.sw.accelerator.program import Program
    from vitrtl.sw.boards.board import Board
    from vitrtl.sw.boards.demonstration import Shown

HELP = "Show test images to the accelerator on a board, over its serial port, and compare."
EPILOG = """The board must hold the bitstream that `vitrtl build --network` makes of the same
network, or of one with an accelerator of the same sizes: the program in its memory is checked, and
written if it is another. Every image goes to the board, its logits and the accelerator's cycles
come back, and the logits are compared with the golden network's.

  vitrtl demo --port /dev/ttyUSB0 --images 100
  vitrtl demo --simulate --images 4

With --simulate there is no board: the same design runs in Verilator by its pins, oscillator and
serial line, with the same host code at the other end. Exit status 1 if a logit differs."""

FILE_WIDTH = 100
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", metavar="PORT",
                       help="serial port of the board, such as /dev/ttyUSB0")
    where.add_argument("--simulate", action="store_true", help="simulate the design instead")
    parser.add_argument("--board", default="ulx3s", metavar="BOARD",
                        help="see `vitrtl boards` (default: %(default)s)")
    parser.add_argument("--network", type=Path, default=Path("build/network"), metavar="FOLDER",
                        help="what the board's accelerator was built for (default: %(default)s)")
    parser.add_argument("--images", type=int, default=10, metavar="N",
                        help="test images, evenly from all (default: %(default)s)")
    parser.add_argument("--data", metavar="FOLDER",
                        help="where the images that the network was made from are now")
    parser.add_argument("--build", type=Path, default=Path("build/sim"), metavar="FOLDER",
                        help="where a simulation works (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Show the images and print what the board says."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from vitrtl.sw.accelerator.compiler import compile_network
    from vitrtl.sw.accelerator.sizing import size_accelerator
    from vitrtl.sw.boards.board import load_board
    from vitrtl.sw.executor import Executor
    from vitrtl.sw.network import load
    from vitrtl.sw.ptq.images import images_of

    board = load_board(args.board)
    network = load(args.network)
    images = images_of(network, args.data)
    ids = images.chosen_test(args.images)
    pixels, labels = np.asarray(images.pixels[ids]), images.labels[ids]
    program = compile_network(network, size_accelerator(network))
    golden = Executor(network).run(pixels)
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)

    how = _simulated if args.simulate else _on_port
    table = Table("image", "label", "board", "golden network", "cycles", "logits that differ")
    shown = []
    for i, label, one in zip(ids, labels, how(args, board, program, pixels, golden, console),
                             strict=True):
        shown.append(one)
        table.add_row(str(i), str(label), str(one.answer), str(one.golden_answer),
                      f"{one.cycles:,}", str(one.mismatches))
    console.print(table)
    right = sum(one.answer == label for one, label in zip(shown, labels, strict=True))
    wrong = sum(one.mismatches for one in shown)
    cycles = max(one.cycles for one in shown)
    console.print(f"{right} of {len(shown)} images right; {wrong} mismatches in "
                  f"{sum(len(one.logits) for one in shown)} logits", highlight=False)
    console.print(f"{cycles:,} cycles an image at most: {1e6 * board.clock_mhz / cycles:.0f} "
                  f"images/s at the board's {board.clock_mhz:g} MHz, without the serial line",
                  highlight=False)
    return 1 if wrong else 0


def _simulated(args: argparse.Namespace, board: "Board", program: "Program",
               pixels: "np.ndarray", golden: "np.ndarray", console: Any) -> "Iterator[Shown]":
    """Yield what a simulated board says."""
    from vitrtl.sim.board import simulate_demonstration

    with console.status(f"simulating {program.network} on {board.name}"):
        found = simulate_demonstration(board, program, pixels, golden, args.build)
    yield from found


def _on_port(args: argparse.Namespace, board: "Board", program: "Program", pixels: "np.ndarray",
             golden: "np.ndarray", console: Any) -> "Iterator[Shown]":
    """Yield what the board at the port says."""
    from rich.progress import track

    from vitrtl.sw.boards.accelerator_client import AcceleratorClient
    from vitrtl.sw.boards.demonstration import demonstrate
    from vitrtl.sw.boards.serial_port import open_port

    with open_port(args.port, board.baud) as port:
        client = AcceleratorClient(port, program)
        client.start()
        if not client.holds_program():
            with console.status(f"writing the program of {program.network}"):
                client.load_program()
        yield from track(demonstrate(client, pixels, golden), description=program.network,
                         total=len(pixels), console=console, disable=not sys.stdout.isatty())
