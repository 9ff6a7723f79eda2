"""The accelerator, instruction by instruction, on the golden functions.

It runs a program's bytes as the gates do, without their clock: to test the compiler, and to show
what an instruction should have written.
"""

from collections.abc import Callable

import numpy as np

from vitrtl.sw.accelerator.configuration_words import ConfigWord
from vitrtl.sw.accelerator.hazards import in_some_order
from vitrtl.sw.accelerator.instruction import Step, array_addresses, rows_of, words_in
from vitrtl.sw.accelerator.isa import BASES, MEMORIES, MODES, OPCODES, VECTOR
from vitrtl.sw.accelerator.layout import FACTOR_BITS, FACTOR_PLACE
from vitrtl.sw.accelerator.program import Program, unpack_logits
from vitrtl.sw.accelerator.spec import ARRAY, CONSTANT_BEATS, DMA, EngineSpec
from vitrtl.sw.catalog import unit
from vitrtl.sw.fast.paths import fast_path
from vitrtl.sw.golden.fixed_point import Format, require, saturate
from vitrtl.sw.golden.requantize import RequantizeConstants, requantize
from vitrtl.sw.golden.unit import Spec

__all__ = ["Model", "Observer"]

Observer = Callable[[Step, np.ndarray], None]
"""`observe(step, values)`: called with what an instruction has written, the part of its node's
value that its `Step` names."""

S16 = Format(16, True)


class Model:
    """Memories and engines of an accelerator, with a program to run.

    Parameters
    ----------
    program : what to run.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.spec = spec = program.spec
        size = spec.size
        self.scratch = np.zeros((spec.scratch_words, size), np.int8)
        self.weights = np.zeros((spec.weight_words, size), np.int8)
        self.residual = np.zeros((spec.residual_words, size), np.int16)
        self.bias = np.zeros((spec.constant_groups, size), np.int64)
        self.factor = np.zeros((spec.constant_groups, size), np.int64)
        self._multiply = fast_path("matmul", spec.matmul, None)
        self._units = [_VectorUnit(engine) for engine in spec.engines]

    def run(self, image: bytes, observe: Observer = lambda step, values: None) -> np.ndarray:
        """Return the logits of an image.

        Parameters
        ----------
        image : as `pack_image` gives it.
        observe : called after each instruction that writes part of a value.

        Raises
        ------
        HazardError
            If instructions wait for each other for ever.
        """
        memory = {BASES["program"]: np.frombuffer(self.program.memory, np.uint8),
                  BASES["image"]: np.frombuffer(image, np.uint8),
                  BASES["output"]: np.zeros(self.program.output_bytes, np.uint8)}
        programs = self.program.instructions
        for engine, index in in_some_order([[fields for fields, _ in one] for one in programs]):
            fields, config = programs[engine][index]
            step = self.program.steps[engine][index]
            if engine == DMA:
                self._transfer(fields, memory)
            elif engine == ARRAY:
                observe(step, self._product(fields)[:, :step.columns])
            else:
                observe(step, self._rows(engine - VECTOR, fields, config))
        return unpack_logits(self.program, memory[BASES["output"]].tobytes())

    def _transfer(self, f: dict[str, int], memory: dict[int, np.ndarray]) -> None:
        size = self.spec.size
        outside = memory[f["base"]][f["offset"]:f["offset"] + f["beats"] * size]
        if len(outside) != f["beats"] * size:
            raise ValueError(f"transfer of {f['beats']} beats must lie in memory, not at offset "
                             f"{f['offset']}")
        at = f["address"]
        if f["opcode"] == OPCODES["store"]:
            inside = (self.residual if f["memory"] == MEMORIES["residual"] else self.scratch)
            words = f["beats"] * size // inside[0].nbytes
            outside[:] = np.frombuffer(inside[at:at + words].astype(
                inside.dtype.newbyteorder("<")).tobytes(), np.uint8)
            return
        beats = outside.reshape(-1, size) ^ np.uint8(128 * f["flip"])
        if f["memory"] == MEMORIES["residual"]:
            words = beats.reshape(-1, 2 * size).view("<i2")
            self.residual[at:at + len(words)] = words
        elif f["memory"] == MEMORIES["constants"]:
            words = beats.reshape(-1, CONSTANT_BEATS * size).view("<u8")
            self.bias[at:at + len(words)] = _signed(words, 0, 32)
            self.factor[at:at + len(words)] = _signed(words, FACTOR_PLACE, FACTOR_BITS)
        else:
            inside = self.weights if f["memory"] == MEMORIES["weights"] else self.scratch
            inside[at:at + len(beats)] = beats.view(np.int8)

    def _product(self, f: dict[str, int]) -> np.ndarray:
        """Run a multiplication; return its results, garbage columns included."""
        if f["paired"] and not (self.spec.paired and f["constants"] % 2 == 0):
            raise ValueError("a multiply can be paired only on an accelerator that is, and with an "
                             f"even group of constants, not {f['constants']}")
        at = array_addresses(f, self.spec)
        rows, words = at.results.shape
        a = self._read(self.scratch, "scratch", at.activations).reshape(rows, -1)
        beats = (self._read(self.scratch, "scratch", at.weights) if f["w_scratch"]
                 else self._read(self.weights, "weights", at.weights))
        # (n, k, beat, element): a beat is a row of its tile, or a column.
        tiles = beats.swapaxes(2, 3) if f["transposed"] else beats
        if f["paired"]:
            # The lower halves of bytes, extended by their sign, and behind them the upper ones.
            tiles = np.concatenate([tiles << 4 >> 4, tiles >> 4], axis=3)
        b = tiles.transpose(1, 2, 0, 3).reshape(a.shape[1], -1)
        sums = require(self._multiply(a, b).astype(np.int64), Format(32, True), "accumulator")
        constants = RequantizeConstants(bias=self.bias[at.constants].reshape(-1),
                                        factor=self.factor[at.constants].reshape(-1),
                                        per_channel=1)
        result = requantize(sums, self.spec.requantize, constants)
        if f["mode"] == MODES["narrow"]:
            result = saturate(result, Format(self.spec.activation_width, True))
        result = result.reshape(rows, words, self.spec.size)
        target = self.scratch if f["mode"] == MODES["narrow"] else self.residual
        if f["mode"] == MODES["add"]:
            result = saturate(target[at.results].astype(np.int64) + result, S16)
        target[at.results] = result
        return result.reshape(rows, -1)

    def _rows(self, number: int, f: dict[str, int], config: list[ConfigWord]) -> np.ndarray:
        """Run a vector unit; return its results."""
        engine, size = self._units[number], self.spec.size
        engine.load(config)
        count = f["elements"]
        words = -(-count // size)
        source = self.residual if self.spec.engines[number].reads_residual else self.scratch
        rows = source[rows_of(f["i_base"], f["i_row"], f["rows"], words)].reshape(f["rows"], -1)
        result = engine.apply(rows[:, :count])
        out = np.zeros((f["rows"], words * size), np.int8)
        out[:, :count] = result
        self.scratch[rows_of(f["o_base"], f["o_row"], f["rows"], words)] = out.reshape(
            f["rows"], words, size)
        return result

    def _read(self, memory: np.ndarray, name: str, words: np.ndarray) -> np.ndarray:
        """Read words; of an address, a memory takes the low bits that it has."""
        return memory[words % (1 << (words_in(name, self.spec) - 1).bit_length())]


class _VectorUnit:
    """A vector engine's registers and functions."""

    def __init__(self, engine: EngineSpec) -> None:
        self.engine = engine
        self._registers: dict[bool, dict[int, int]] = {False: {}, True: {}}
        self._unit = unit(engine.unit).golden

    def load(self, config: list[ConfigWord]) -> None:
        """Take the constants of a layer."""
        for requantizer in (False, True):
            words = {word.address: word.data for word in config if word.requantizer == requantizer}
            if words:
                self._registers[requantizer] = words

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Return the results of some rows."""
        spec = self.engine.spec
        x = _low_bits(rows, spec.in_format)
        path = fast_path(self.engine.unit, spec, self._constants(False, spec))
        result = path(x) if path else self._unit.function(x, spec, self._constants(False, spec))
        if self.engine.requantize is not None:
            constants = self._constants(True, self.engine.requantize)
            result = requantize(result.astype(np.int64), self.engine.requantize, constants)
        return result

    def _constants(self, requantizer: bool, spec: Spec) -> object:
        """Return the registers as the golden function takes them."""
        words, values = self._registers[requantizer], {}
        for register in spec.registers:
            found = [_signed_int(words[address], register.format)
                     for address in range(register.address, register.address + register.depth)
                     if address in words]
            values[register.name] = found[0] if register.depth == 1 else np.array(found, np.int64)
        return (RequantizeConstants if requantizer else self._unit.constants)(**values)


def _low_bits(rows: np.ndarray, fmt: Format) -> np.ndarray:
    """Return elements as a unit takes them: their low bits."""
    codes = rows.astype(np.int64) & ((1 << fmt.width) - 1)
    return codes - ((codes >> (fmt.width - 1)) << fmt.width) if fmt.signed else codes


def _signed_int(word: int, fmt: Format) -> int:
    word &= (1 << fmt.width) - 1
    return word - (1 << fmt.width) if fmt.signed and word >> (fmt.width - 1) else word


def _signed(words: np.ndarray, place: int, bits: int) -> np.ndarray:
    """Return a signed field of 64-bit words."""
    left = words << np.uint64(64 - place - bits)
    return left.view("<i8") >> (64 - bits)
