"""What the gates wrote against the golden network, value for value, at every layer boundary."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vitrtl.sim.accelerator_records import Records, Writes
from vitrtl.sw.accelerator.instruction import (
    Step,
    array_addresses,
    rows_of,
    words_in,
    words_of_tile,
)
from vitrtl.sw.accelerator.isa import MODES
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.spec import ARRAY
from vitrtl.sw.executor import Executor
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.network import IntegerNetwork, Node

__all__ = ["Comparison", "Expected", "Mismatch", "compare", "expected_writes", "golden_values",
           "layer_values", "stored_nodes"]


@dataclasses.dataclass(frozen=True, slots=True)
class Mismatch:
    """The first difference within one instruction's results.

    Parameters
    ----------
    step : whose results they are.
    row, column : in the golden value, of the token and the channel.
    gates, golden : both values there.
    count : values of this step that differ.
    """

    step: Step
    row: int
    column: int
    gates: int
    golden: int
    count: int

    def __str__(self) -> str:
        head = "".join(f", head {i}" for i in self.step.lead)
        return (f"{self.step.label} ({self.step.node}{head}), token {self.row}, channel "
                f"{self.column}: gates {self.gates}, golden {self.golden}; {self.count} values of "
                "this instruction differ")


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Outcome of one run.

    Parameters
    ----------
    values : compared, the logits included.
    mismatches : of them that differ.
    troubles : what is wrong, a line each, in the order in which the gates did it.
    unseen : values of these nodes that no instruction writes, by node: constants that the stream
        begins with, and what nothing reads.
    """

    values: int
    mismatches: int
    troubles: tuple[str, ...]
    unseen: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """Words that one instruction writes, in the order in which it does.

    Parameters
    ----------
    residual : whether they are of the residual memory.
    addresses : of each word.
    passes, rows, words : of each pass every row, of each row some words.
    """

    residual: bool
    addresses: np.ndarray
    passes: int
    rows: int
    words: int


def golden_values(network: IntegerNetwork, image: np.ndarray, wanted: set[str]
                  ) -> dict[str, np.ndarray]:
    """Return what the golden network computes for one image, for the wanted nodes."""
    found: dict[str, np.ndarray] = {}

    def observe(node: Node, inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        if node.name in wanted:
            found[node.name] = output[0].copy()

    Executor(network, threads=1).run(image[None], observe)
    return found


def stored_nodes(program: Program) -> set[str]:
    """Return the nodes whose values the gates write to a memory."""
    return {step.node for steps in program.steps for step in steps if step.node}


def expected_writes(program: Program, engine: int) -> Iterator[Expected]:
    """Yield where each instruction of an engine puts its results."""
    spec = program.spec
    for fields, _ in program.instructions[engine]:
        rows = fields["rows"]
        if engine == ARRAY:
            passes, words = fields["n_tiles"], words_of_tile(fields)
            residual = fields["mode"] != MODES["narrow"]
            addresses = array_addresses(fields, spec).results
            addresses = addresses.reshape(rows, passes, words).transpose(1, 0, 2)
        else:
            passes, words = 1, -(-fields["elements"] // spec.size)
            residual = False
            addresses = rows_of(fields["o_base"], fields["o_row"], rows, words)
        held = (words_in("residual" if residual else "scratch", spec) - 1).bit_length()
        yield Expected(residual=residual, addresses=addresses.ravel() & ((1 << held) - 1),
                       passes=passes, rows=rows, words=words)


def compare(program: Program, records: Records, golden: Mapping[str, np.ndarray],
            formats: Mapping[str, Format], logits: np.ndarray, golden_logits: np.ndarray
            ) -> Comparison:
    """Compare everything that the gates wrote in one run.

    Parameters
    ----------
    golden : value of every node of `stored_nodes`.
    formats : of these values.
    logits, golden_logits : from the output memory, and from the golden network.

    Returns
    -------
    Comparison
        Troubles are a word that is missing, left over or at a wrong address, a value that
        differs, an instruction that did not begin or end.
    """
    values = mismatches = 0
    troubles: list[tuple[float, str]] = []
    covered = {name: np.zeros(_matrix(value).shape, bool) for name, value in golden.items()}
    for engine, steps in enumerate(program.steps):
        done = records.done[engine]
        for what, cycles in (("begun", records.issued[engine]), ("ended", done)):
            if len(cycles) != len(steps):
                text = f"{_name(program, engine)} has {what} {len(cycles)} of {len(steps)}"
                troubles.append((np.inf, f"{text} instructions"))
        writes = records.writes[engine]
        if writes is None:
            continue
        place = 0
        for index, (step, words) in enumerate(zip(steps, expected_writes(program, engine),
                                                  strict=True)):
            when = done[index] if index < len(done) else np.inf
            part = slice(place, place + len(words.addresses))
            place = part.stop
            if trouble := _misplaced(step, words, writes, part):
                troubles.append((when, trouble))
                break
            if not step.node:
                continue
            got, want = _values(step, words, writes.data[part], golden, formats)
            covered[step.node][step.lead][_part(step)] = True
            values += want.size
            if not np.array_equal(got, want):
                wrong = np.argwhere(got != want)
                row, column = wrong[0]
                mismatches += len(wrong)
                troubles.append((when, str(Mismatch(
                    step, step.row + int(row), step.column + int(column), int(got[row, column]),
                    int(want[row, column]), len(wrong)))))
        else:
            if left := len(writes.addresses) - place:
                text = f"{_name(program, engine)} wrote {left} words more than it should"
                troubles.append((np.inf, text))
    values += golden_logits.size
    if count := int(np.count_nonzero(logits != golden_logits)):
        mismatches += count
        first = int(np.flatnonzero(logits != golden_logits)[0])
        text = (f"logit {first} in memory: gates {logits[first]}, golden {golden_logits[first]}; "
                f"{count} logits differ")
        troubles.append((np.inf, text))
    troubles.sort(key=lambda trouble: trouble[0])
    return Comparison(values, mismatches, tuple(text for _, text in troubles),
                      {name: int(np.count_nonzero(~seen)) for name, seen in covered.items()
                       if not seen.all()})


def layer_values(program: Program, records: Records, golden: Mapping[str, np.ndarray],
                 formats: Mapping[str, Format], name: str) -> np.ndarray:
    """Return a node's value as the gates wrote it, in the shape of the golden one."""
    gates = np.zeros(golden[name].shape, np.int64)
    view = _matrix(gates)
    for engine, steps in enumerate(program.steps):
        writes = records.writes[engine]
        if writes is None:
            continue
        place = 0
        for step, words in zip(steps, expected_writes(program, engine), strict=True):
            part = slice(place, place + len(words.addresses))
            place = part.stop
            if step.node == name and part.stop <= len(writes.addresses):
                view[step.lead][_part(step)] = _values(step, words, writes.data[part], golden,
                                                       formats)[0]
    return gates


def _name(program: Program, engine: int) -> str:
    return f"engine {engine} ({program.spec.engine_name(engine)})"


def _matrix(value: np.ndarray) -> np.ndarray:
    """Return a value with at least two axes, sharing its memory."""
    return value.reshape(1, -1) if value.ndim == 1 else value


def _part(step: Step) -> tuple[slice, slice]:
    return (slice(step.row, step.row + step.rows), slice(step.column, step.column + step.columns))


def _misplaced(step: Step, words: Expected, writes: Writes, part: slice) -> str:
    """Return what is wrong with where an instruction's words went, or nothing."""
    there = len(writes.addresses[part])
    if there != len(words.addresses):
        return f"{step.label}: {there} of {len(words.addresses)} words were written"
    wrong = np.flatnonzero((writes.addresses[part] != words.addresses)
                           | (writes.residual[part] != words.residual))
    if not wrong.size:
        return ""
    place = part.start + int(wrong[0])
    memory = {False: "scratchpad", True: "residual memory"}
    return (f"{step.label}: its word {wrong[0]} went to {memory[bool(writes.residual[place])]} "
            f"{writes.addresses[place]}, not {memory[words.residual]} {words.addresses[wrong[0]]}")


def _values(step: Step, words: Expected, data: np.ndarray, golden: Mapping[str, np.ndarray],
            formats: Mapping[str, Format]) -> tuple[np.ndarray, np.ndarray]:
    """Return an instruction's results and what they must be, (rows, columns) each."""
    if words.residual:
        elements = data.view("<i2")
    else:
        kind = np.int8 if formats[step.node].signed else np.uint8
        elements = data[:, :data.shape[1] // 2].view(kind)
    elements = elements.reshape(words.passes, words.rows, -1).transpose(1, 0, 2)
    got = elements.reshape(words.rows, -1)[:step.rows, :step.columns].astype(np.int64)
    return got, _matrix(golden[step.node])[step.lead][_part(step)].astype(np.int64)
