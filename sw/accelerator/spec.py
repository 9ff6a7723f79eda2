"""Build-time numbers of an accelerator: array, lanes, memories, vector engines."""

import dataclasses
from pathlib import Path
from typing import Any

from vitrtl.sw.catalog import OPERATORS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import read_json
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.matmul import MatMulSpec
from vitrtl.sw.golden.requantize import RequantizeSpec
from vitrtl.sw.golden.unit import Spec, VectorSpec, check_range

__all__ = ["ACTIVATION", "ARRAY", "CONSTANT_BEATS", "DMA", "HALF_WEIGHT", "AcceleratorSpec",
           "EngineSpec"]

DMA, ARRAY = 0, 1
"""Numbers of the engines that every accelerator has; vector engines follow, in their order."""

ACTIVATION = Format(8, True)
"""What fits is an operand of the array."""

HALF_WEIGHT = Format(4, True)
"""What fits is a weight of which a byte holds two."""

CONSTANT_BEATS = 8
"""Beats of the memory bus that hold the constants of one group: a channel takes 64 bits of them,
and a group is as many channels as the array has columns."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """One vector engine: a unit of the catalogue between two ports of the memories.

    Parameters
    ----------
    unit : name in the catalogue; a layernorm reads the residual memory, others the scratchpad.
    spec : of the unit; its lanes are the engine's.
    requantize : of what follows the unit, with the same lanes; None if its results are operands
        already.
    """

    unit: str
    spec: VectorSpec
    requantize: RequantizeSpec | None

    def __post_init__(self) -> None:
        operator = unit(self.unit, gates=True).operator
        if operator not in OPERATORS:
            raise ValueError(f"engine must be one of {', '.join(OPERATORS)}, not {operator}")
        if self.spec.operand != "linear":
            raise ValueError(f"engine must give linear codes, which {self.unit} does not")
        if self.requantize is not None and self.requantize.lanes != self.spec.lanes:
            raise ValueError(f"lanes of {self.unit} and its requantizer must be the same, not "
                             f"{self.spec.lanes} and {self.requantize.lanes}")
        element = 16 if self.reads_residual else 8
        if self.spec.in_format.width > element:
            raise ValueError(f"elements of {self.unit} must be {element} bits at most, not "
                             f"{self.spec.in_format.width}")
        if self.requantize is not None:
            given, takes = self.spec.out_format, self.requantize.in_format
            if given.lo < takes.lo or given.hi > takes.hi:
                raise ValueError(f"requantizer must take the {given} of {self.unit}, not {takes}")
        if not (ACTIVATION.lo <= self.out_format.lo and self.out_format.hi <= ACTIVATION.hi):
            raise ValueError(f"results of {self.unit} must fit {ACTIVATION}, not "
                             f"{self.out_format}")

    @property
    def reads_residual(self) -> bool:
        """Whether rows come from the residual memory."""
        return unit(self.unit).operator == "layernorm"

    @property
    def out_format(self) -> Format:
        """Format of a result."""
        return (self.spec if self.requantize is None else self.requantize).out_format


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceleratorSpec(Spec):
    """Build-time numbers of one accelerator.

    A word of scratchpad, weight buffer and memory bus is one element for each row of the array,
    eight bits each. A word of the residual memory has 16 bits for each.

    Parameters
    ----------
    size : rows and columns of the array: 8, 16 or 32.
    longest_pass : rows of activations that the accumulators hold.
    requantize_lanes : results of the array that are requantized in one cycle.
    activation_width : bits of a narrow result, to which it saturates; stored as eight.
    banks : of the scratchpad, each with a read and a write port; a power of two.
    bank_words : words of a bank; a power of two.
    residual_words : words of the residual memory.
    weight_words : words of the weight buffer.
    constant_groups : groups of the array's requantizer constants that are held.
    paired : each multiplier of the array does two products with weights of four bits.
    engines : vector engines.
    """

    size: int = 8
    longest_pass: int = 32
    requantize_lanes: int = 4
    activation_width: int = 8
    banks: int = 4
    bank_words: int = 1024
    residual_words: int = 1024
    weight_words: int = 1024
    constant_groups: int = 32
    paired: bool = False
    engines: tuple[EngineSpec, ...] = ()

    registers = ()

    def __post_init__(self) -> None:
        for name, choices in (("size", (8, 16, 32)), ("requantize_lanes", (1, 2, 4, 8, 16, 32)),
                              ("banks", (1, 2, 4, 8, 16))):
            if isinstance(getattr(self, name), bool) or getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {', '.join(map(str, choices[:-1]))} or "
                                 f"{choices[-1]}, not {getattr(self, name)!r}")
        lanes = self.requantize_lanes
        if not self.size // 8 <= lanes <= self.size:
            raise ValueError(f"requantize_lanes must be {self.size // 8}..{self.size} for an array "
                             f"of {self.size} columns, not {lanes}")
        check_range("longest_pass", self.longest_pass, self.size, 4096, "rows")
        check_range("activation_width", self.activation_width, 2, 8, "bits")
        check_range("bank_words", self.bank_words, 64, 1 << 16)
        if self.bank_words & (self.bank_words - 1):
            raise ValueError(f"bank_words must be a power of two, not {self.bank_words}")
        check_range("banks * bank_words", self.scratch_words, 64, 1 << 20)
        check_range("residual_words", self.residual_words, 16, 1 << 20)
        check_range("weight_words", self.weight_words, 16, 1 << 20)
        if not isinstance(self.paired, bool):
            raise ValueError(f"paired must be true or false, not {self.paired!r}")
        # Those of a tile, and of the next one.
        check_range("constant_groups", self.constant_groups, 4 if self.paired else 2, 4096)
        check_range("engines", len(self.engines), 0, 13)

    @property
    def matmul(self) -> MatMulSpec:
        """Numbers of the array."""
        return MatMulSpec(rows=self.size, columns=self.size, longest_pass=self.longest_pass)

    @property
    def requantize(self) -> RequantizeSpec:
        """Numbers of the array's requantizer; narrow results are its own, saturated further."""
        return RequantizeSpec(out_width=16, lanes=min(self.requantize_lanes, 8))

    @property
    def scratch_words(self) -> int:
        """Words of the scratchpad."""
        return self.banks * self.bank_words

    @property
    def bus_bytes(self) -> int:
        """Bytes of one beat of the memory bus."""
        return self.size

    @property
    def engine_count(self) -> int:
        """Engines, the two that are always there included."""
        return 2 + len(self.engines)

    def engine_name(self, index: int) -> str:
        """Return `dma`, `array` or the unit's name."""
        return ("dma", "array")[index] if index < 2 else self.engines[index - 2].unit

    @classmethod
    def fromdict(cls, fields: dict[str, Any]) -> "AcceleratorSpec":
        """Build from the JSON of `asdict`."""
        engines = tuple(
            EngineSpec(unit=engine["unit"],
                       spec=unit(engine["unit"], gates=True).golden.spec.fromdict(engine["spec"]),
                       requantize=None if engine["requantize"] is None
                       else RequantizeSpec.fromdict(engine["requantize"]))
            for engine in fields.get("engines", ()))
        return super().fromdict({**fields, "engines": engines})

    @classmethod
    def read(cls, path: Path) -> "AcceleratorSpec":
        """Build from a JSON file: of `asdict`, or one that has that as `spec`, as programs do.

        Raises
        ------
        UserError
            For a file that holds something else, or numbers that cannot work.
        """
        fields = read_json(path)
        if not isinstance(fields, dict):
            raise UserError(f"{path} must hold an object, the spec of an accelerator")
        try:
            return cls.fromdict(fields.get("spec", fields))
        except KeyError as error:
            raise UserError(f"{path}: an engine must have {error}") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f"{path} is not the spec of an accelerator: {error}") from None
