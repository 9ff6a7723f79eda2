"""A compiled network: what goes into memory, and what each instruction is for.

On disk it is a folder with `program.bin`, the bytes at the accelerator's address register
`PROGRAM`, and `program.json`, everything that a host or a bench needs to know of them.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.sw.accelerator.configuration_words import ConfigWord
from vitrtl.sw.accelerator.instruction import Step, decode
from vitrtl.sw.accelerator.isa import HEADER_WORDS, MAGIC
from vitrtl.sw.accelerator.layout import padded
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, existing, json_text, read_json, write_if_changed
from vitrtl.sw.structure import patchify

__all__ = ["FORMAT", "VERSION", "Program", "load", "pack_image", "save", "unpack_logits"]

FORMAT = "vitrtl.program"
VERSION = 2
JSON_NAME = "program.json"
BINARY_NAME = "program.bin"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A network as one accelerator runs it on an image.

    Parameters
    ----------
    spec : of the accelerator.
    network, network_digest : name and checksum of what was compiled.
    memory : header, instructions and constants, at the address `PROGRAM`, a multiple of
        `PROGRAM_ALIGNMENT`; position independent.
    steps : what each instruction is for, by engine, in its order.
    image_shape : channels, height and width of an image.
    patch : pixels of a patch's side.
    classes : number of logits.
    predicted : for each engine, the cycle in which every instruction begins and the one in which
        it has ended, from a memory that answers at once; see `vitrtl.sw.accelerator.predict`.
    predicted_cycles : of the whole run.
    """

    spec: AcceleratorSpec
    network: str
    network_digest: str
    memory: bytes
    steps: tuple[tuple[Step, ...], ...]
    image_shape: tuple[int, int, int]
    patch: int
    classes: int
    predicted: tuple[tuple[tuple[int, int], ...], ...] = ()
    predicted_cycles: int = 0

    @property
    def image_bytes(self) -> int:
        """Size of an image in memory, as `pack_image` gives it."""
        channels, height, width = self.image_shape
        patches = (height // self.patch) * (width // self.patch)
        return patches * self._up(channels * self.patch**2)

    @property
    def output_bytes(self) -> int:
        """Size of the logits in memory, as `unpack_logits` takes them."""
        return 2 * self._up(self.classes)

    @property
    def digest(self) -> str:
        """Checksum of what the accelerator reads."""
        return digest(self.spec.digest, self.memory)

    @functools.cached_property
    def instructions(self) -> tuple[tuple[tuple[dict[str, int], list[ConfigWord]], ...], ...]:
        """Fields and constants of each engine's instructions, decoded.

        Raises
        ------
        ValueError
            If the memory does not hold a program for the accelerator.
        """
        return tuple(tuple(decode(engine, words)) for engine, words in enumerate(self._words()))

    def _words(self) -> list[list[int]]:
        words = np.frombuffer(self.memory, "<u8", len(self.memory) // 8)
        count = self.spec.engine_count
        if int(words[0]) != MAGIC | count << 32 or int(words[1]) != int(self.spec.digest, 16):
            raise ValueError("memory must hold a program for this accelerator")
        table = words[HEADER_WORDS:HEADER_WORDS + count]
        streams = []
        for entry in map(int, table):
            start, length = (entry & 0xFFFFFFFF) // 8, entry >> 32
            streams.append([int(word) for word in words[start:start + length]])
        return streams

    def _up(self, elements: int) -> int:
        return -(-elements // self.spec.size) * self.spec.size


def pack_image(program: Program, image: np.ndarray) -> bytes:
    """Return an image as it must lie at the address `IMAGE`.

    A row per patch, each padded to whole words; pixels in the order of channels, rows, columns.
    They stay unsigned: the DMA turns them to signed codes as it loads them.

    Raises
    ------
    UserError
        If the image has another shape or type.
    """
    image = np.asarray(image)
    if image.shape != program.image_shape or image.dtype != np.uint8:
        raise UserError(f"image must be uint8 of shape {program.image_shape}, not {image.dtype} "
                        f"of {image.shape}")
    rows = patchify([image[np.newaxis]], {"patch": program.patch})[0]
    return padded(rows, program.spec.size).tobytes()


def unpack_logits(program: Program, output: bytes) -> np.ndarray:
    """Return the integer logits from the bytes at the address `OUTPUT`.  Shape: (classes,)."""
    if len(output) < program.output_bytes:
        raise UserError(f"logits must have {program.output_bytes} bytes, not {len(output)}")
    return np.frombuffer(output, "<i2", program.classes).astype(np.int64)


def save(program: Program, folder: Path) -> None:
    """Write `program.bin`, and then `program.json`, which vouches for it."""
    folder = Path(folder)
    head = {
        "format": FORMAT, "version": VERSION, "binary": digest(program.memory),
        "spec": program.spec.asdict(), "network": program.network,
        "network_digest": program.network_digest, "image_shape": list(program.image_shape),
        "patch": program.patch, "classes": program.classes,
        "image_bytes": program.image_bytes, "output_bytes": program.output_bytes,
        "steps": [[_step_values(step) for step in steps] for steps in program.steps],
        "predicted": program.predicted, "predicted_cycles": program.predicted_cycles,
    }
    write_if_changed(folder / BINARY_NAME, program.memory)
    write_if_changed(folder / JSON_NAME, json_text(head))


def load(folder: Path) -> Program:
    """Read a program that `save` wrote.

    Raises
    ------
    UserError
        One line, if a file is missing or damaged, of another version, or if the two do not
        belong together.
    """
    path = Path(folder) / JSON_NAME
    head = read_json(path)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UserError(f"{path} is not a {FORMAT} file")
    if head.get("version") != VERSION:
        raise UserError(f"{path} must have version {VERSION}, not {head.get('version')!r}")
    memory = existing(Path(folder) / BINARY_NAME).read_bytes()
    if digest(memory) != head.get("binary"):
        raise UserError(f"{Path(folder) / BINARY_NAME} does not have the checksum that {path} "
                        "states; compile again")
    try:
        return Program(
            spec=AcceleratorSpec.fromdict(head["spec"]), network=head["network"],
            network_digest=head["network_digest"], memory=memory,
            steps=tuple(tuple(_step(engine, values) for values in steps)
                        for engine, steps in enumerate(head["steps"])),
            image_shape=tuple(head["image_shape"]), patch=head["patch"], classes=head["classes"],
            predicted=tuple(tuple((start, end) for start, end in spans)
                            for spans in head["predicted"]),
            predicted_cycles=head["predicted_cycles"])
    except KeyError as error:
        raise UserError(f"{path} lacks {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}") from None


def _step_values(step: Step) -> list[Any]:
    return [step.node, list(step.lead), step.row, step.rows, step.column, step.columns, step.label,
            step.macs]


def _step(engine: int, values: list[Any]) -> Step:
    node, lead, row, rows, column, columns, label, macs = values
    return Step(engine=engine, node=node, lead=tuple(lead), row=row, rows=rows, column=column,
                columns=columns, label=label, macs=macs)
