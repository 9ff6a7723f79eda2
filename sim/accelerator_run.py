"""Images through the accelerator's gates, everything compared with the golden network."""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.sim.accelerator_build import accelerator_model, accelerator_verilog
from vitrtl.sim.accelerator_compare import (
    Comparison,
    compare,
    golden_values,
    layer_values,
    stored_nodes,
)
from vitrtl.sim.accelerator_job import NEVER, PAGE, Memory, Run, RunResult
from vitrtl.sim.accelerator_processes import Ended, simulate
from vitrtl.sim.accelerator_records import Records, read_records
from vitrtl.sim.build import BuildError
from vitrtl.sw.accelerator.predict import Bus
from vitrtl.sw.accelerator.program import Program, pack_image, unpack_logits
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.errors import UserError
from vitrtl.sw.network import IntegerNetwork

__all__ = ["Gates", "ImageResult", "memory_bus"]

WHOLE = 256
"""Bandwidth of the memory is given in this part of a beat."""

MOST_LATENCY = 10_000


def memory_bus(spec: AcceleratorSpec, latency: int = 0, bandwidth: int | None = None) -> Bus:
    """Return how a memory answers.

    Parameters
    ----------
    latency : cycles by which it answers later than it could.
    bandwidth : bytes that it reads or writes in a cycle; as many as the bus has if None.

    Raises
    ------
    UserError
        If the bus is too narrow.
    """
    width = spec.bus_bytes
    bandwidth = width if bandwidth is None else bandwidth
    if not 1 <= bandwidth <= width:
        raise UserError(f"bandwidth must be 1..{width} bytes a cycle, the width of the memory "
                        f"bus, not {bandwidth}")
    if not 0 <= latency <= MOST_LATENCY:
        raise UserError(f"latency must be 0..{MOST_LATENCY} cycles, not {latency}")
    return Bus(latency=latency, bandwidth=bandwidth * WHOLE // width)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One image.

    Parameters
    ----------
    image : position among the images.
    bus : how the memory answered.
    result : what the registers said.
    logits, golden_logits : both.
    comparison : of everything that was recorded.
    records : what was recorded; None where it was let go.
    """

    image: int
    bus: Bus
    result: RunResult
    logits: np.ndarray
    golden_logits: np.ndarray
    comparison: Comparison
    records: Records | None

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong, a line each."""
        own = (self.result.trouble,) if self.result.trouble else ()
        return own + self.comparison.troubles


class Gates:
    """A program on the gates of its accelerator.

    Parameters
    ----------
    network, program : the program must be of the network.
    device : `generic` or `ecp5`.
    build : folder of all simulations.
    quick : whether simulators are built rather than run quickly.
    """

    def __init__(self, network: IntegerNetwork, program: Program, device: str, build: Path,
                 quick: bool = False) -> None:
        self.network, self.program = network, program
        self._build, self._quick = build, quick
        self._folder = build / "accelerator"
        self.verilog = accelerator_verilog(program.spec, device, build)
        self._formats = {name: value.format for name, value in network.values.items()}

    def build(self, images: int, waves: bool = False) -> Path:
        """Build the simulator, with memory for some images; return its folder."""
        return accelerator_model(self.verilog, self.program.spec, self._memory_bytes(images),
                                 self._build, waves, self._quick)

    def run(self, images: np.ndarray, buses: Sequence[Bus] = (Bus(),), *, processes: int = 2,
            progress: Callable[[int], None] = lambda cycles: None,
            waves: int = NEVER, waveform: Path | None = None,
            **settings: Any) -> Iterator[ImageResult]:
        """Yield what became of every image under every bus, as they end.

        Parameters
        ----------
        images : pixels, (images, channels, height, width).
        buses : how the memory answers.
        processes : simulators side by side.
        progress : called with the cycles that have been simulated.
        waves : first cycle of a waveform, which ends with the run.
        waveform : VCD file that it becomes.
        settings : of `vitrtl.sim.accelerator_job.Run` for all runs.
        """
        program, spec = self.program, self.program.spec
        model = self.build(len(images), waves != NEVER)
        memory = Memory()
        base = memory.add(program.memory)
        places = [(memory.add(pack_image(program, image)),
                   memory.add(bytes(program.output_bytes))) for image in images]
        runs = [Run(number=i * len(images) + j, program=base, image=place, output=output,
                    output_bytes=program.output_bytes, waves=waves,
                    latency=bus.latency, bandwidth=bus.bandwidth, **settings)
                for i, bus in enumerate(buses) for j, (place, output) in enumerate(places)]
        with _workplace(self._folder) as place:
            yield from self._results(simulate(model, spec, memory, runs, place, processes,
                                              progress), images, buses)
            if waveform is not None:
                waveform.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(next(place.glob("*/dump.vcd")), waveform)

    def _results(self, ended: Iterator[Ended], images: np.ndarray, buses: Sequence[Bus]
                 ) -> Iterator[ImageResult]:
        program = self.program
        nodes = stored_nodes(program)
        golden: dict[int, dict[str, np.ndarray]] = {}
        left = {j: len(buses) for j in range(len(images))}
        for run, result, folder in ended:
            i, j = divmod(run.number, len(images))
            if j not in golden:
                golden[j] = golden_values(self.network, images[j], nodes | {self.network.output})
            expected = golden[j][self.network.output].ravel().astype(np.int64)
            logits = unpack_logits(program, (folder / f"dump_{run.number}.bin").read_bytes())
            records = read_records(folder, run.number, program.spec)
            yield ImageResult(
                image=j, bus=buses[i], result=result, logits=logits, golden_logits=expected,
                comparison=compare(program, records, {n: golden[j][n] for n in nodes},
                                   self._formats, logits, expected),
                records=records)
            left[j] -= 1
            if not left[j]:
                del golden[j]

    def layer(self, result: ImageResult, image: np.ndarray,
              node: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a node's value as the gates wrote it, and as the golden network has it."""
        golden = golden_values(self.network, image, {node})
        return layer_values(self.program, result.records, golden, self._formats,
                            node), golden[node]

    def waveform(self, image: np.ndarray, bus: Bus, window: tuple[int, int], path: Path,
                 progress: Callable[[int], None], **settings: Any) -> None:
        """Run one image again and keep a part of it as a waveform.

        Parameters
        ----------
        window : first cycle, and the one after the last.
        path : of the VCD file.
        """
        for _ in self.run(image[np.newaxis], (bus,), processes=1, progress=progress,
                          waves=window[0], waveform=path, patience=window[1], **settings):
            pass

    def _memory_bytes(self, images: int) -> int:
        program = self.program
        places = (program.image_bytes, program.output_bytes)
        return len(program.memory) + PAGE + images * sum(size + PAGE for size in places)


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Make a folder of its own for a simulation; it stays if the simulator fails."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    try:
        yield place
    except BuildError:
        raise
    except BaseException:
        shutil.rmtree(place)
        raise
    shutil.rmtree(place)
