"""What every unit declares: build-time numbers, run-time registers, golden function."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require

__all__ = ["ErrorLimit", "Golden", "Register", "Spec", "VectorSpec", "check_range", "check_row",
           "config_words", "scale_of"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One run-time constant of a unit, loaded through its configuration stream.

    Parameters
    ----------
    name : attribute of the unit's `Constants` that holds the value.
    format : integer format of one word.
    doc : meaning, for the unit's page and the Verilog header.
    address : of the first word.
    depth : number of words; 1 is a scalar register, more is one word per channel.
    """

    name: str
    format: Format
    doc: str
    address: int
    depth: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """Build-time numbers of a unit: what the gates are generated from.

    A subclass adds its own fields, checks them in `__post_init__`, and states the formats of its
    data and the registers that hold its run-time constants.
    """

    registers: ClassVar[tuple[Register, ...]]
    """Run-time constants, in address order; most units make it a property of their fields."""

    @property
    def config_address_width(self) -> int:
        """Bits of a configuration address."""
        return max(1, max(r.address + r.depth - 1 for r in self.registers).bit_length())

    @property
    def config_data_width(self) -> int:
        """Bits of a configuration word."""
        return max(r.format.width for r in self.registers)

    def asdict(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @property
    def digest(self) -> str:
        """Short checksum of the unit kind and all fields."""
        text = json.dumps([type(self).__name__, self.asdict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def fromdict(cls, fields: dict[str, Any]) -> "Spec":
        """Build from the JSON of `asdict`."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; "
                             f"its fields are {', '.join(sorted(known))}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSpec(Spec):
    """Build-time numbers of a unit that turns a stream of rows into a stream of rows.

    Parameters
    ----------
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = False
    """Whether an output depends on its whole row (softmax) or only on its own element (GELU)."""

    in_format: ClassVar[Format]
    """Format of an input element; a property of the fields."""

    out_format: ClassVar[Format]
    """Format of an output element; a property of the fields."""

    operand: ClassVar[str] = "linear"
    """What an output code stands for: `linear`, itself times the scale, or `log2`, see
    `vitrtl.sw.golden.log2_code`."""

    merges_requantizer: ClassVar[bool] = False
    """Whether a result is the next unit's s8 operand already: `derive` takes an `out_scale`, and
    no requantizer follows. A property of the fields where one of them decides it."""

    depends_on_lanes: ClassVar[bool] = False
    """Whether results depend on how a row is cut into beats, and not only the cycles do. A
    property of the fields where one of them decides it."""

    lanes: int = 1

    def __post_init__(self) -> None:
        if self.lanes not in (1, 2, 4, 8):
            raise ValueError(f"lanes must be 1, 2, 4 or 8, not {self.lanes!r}")


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorLimit:
    """What a method's error against float64 is stated to stay below.

    It holds for the rows and row lengths of `vitrtl errors`, for input scales from 0.01 on.

    Parameters
    ----------
    scale : largest input scale for which it holds.
    error : largest absolute error of an output.
    """

    scale: float
    error: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The software half of a unit, bound to names that are the same for every unit.

    Parameters
    ----------
    spec : its `Spec` class; calling it without arguments gives the default unit.
    constants : frozen dataclass of run-time integers (and integer arrays).
    derive : `derive(spec, in_scale, **parameters) -> (constants, out_scale)`: the export step,
        in exact rational arithmetic, that turns scales into integers. A LayerNorm has the
        parameters `gamma` and `beta`; all others have defaults.
    function : `function(x, spec, constants) -> y`, integers in, integers out, rows along the
        last axis.
    fit_scale : `fit_scale(spec, in_scale) -> in_scale`: the smallest scale at or above the wanted
        one that the method can work with, where it cannot work with every scale.
    calibrate : `calibrate(spec, in_scale, codes) -> parameters` of `derive` that are fitted to
        input codes, rows along the last axis; None if the method has no such parameters.
    limits : error against float64, by rising scale.
    variants : builds beside the default one that are measured as well, by a name for people:
        what a paper leaves open, or what another place in the network needs.
    """

    spec: type[Spec]
    constants: type
    derive: Callable[..., tuple[Any, Any]]
    function: Callable[..., np.ndarray]
    fit_scale: Callable[[Any, Fraction], Fraction] = lambda spec, in_scale: in_scale
    calibrate: Callable[..., dict[str, Any]] | None = None
    limits: tuple[ErrorLimit, ...] = ()
    variants: Mapping[str, Spec] = dataclasses.field(default_factory=dict)

    def export(self, spec: VectorSpec, in_scale: Fraction, codes: np.ndarray | None = None,
               out_scale: Fraction | None = None, **parameters: Any) -> tuple[Any, Any]:
        """Return what `derive` gives for a layer, with the parameters that this method takes.

        Parameters
        ----------
        spec, in_scale : the unit, and a scale that `fit_scale` gave.
        codes : input codes of calibration data, rows along the last axis; without them the
            parameters that would be fitted keep their defaults.
        out_scale : calibrated scale of the result, for a unit that merges its requantizer.
        parameters : what the layer has in float: `gamma` and `beta` of a LayerNorm.
        """
        if self.calibrate is not None and codes is not None:
            parameters |= self.calibrate(spec, in_scale, codes)
        if spec.merges_requantizer and out_scale is not None:
            parameters["out_scale"] = out_scale
        return self.derive(spec, in_scale, **parameters)

    def error_limit(self, in_scale: float) -> float:
        """Return the stated error at an input scale.

        Raises
        ------
        ValueError
            If nothing is stated for that scale.
        """
        for limit in self.limits:
            if in_scale <= limit.scale:
                return limit.error
        raise ValueError(f"no error is stated for a scale of {in_scale}")


def check_range(name: str, value: int, lo: int, hi: int, unit: str = "") -> None:
    """Refuse an integer outside `lo..hi`, naming quantity, rule and value."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not lo <= value <= hi:
        raise ValueError(f"{name} must be {lo}..{hi}{' ' + unit if unit else ''}, not {value!r}")


def scale_of(value: Any, what: str = "scale") -> Fraction:
    """Return a positive scale as the exact fraction that its decimal or binary value is."""
    try:
        scale = Fraction(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} must be a finite positive number, not {value!r}") from None
    if scale <= 0:
        raise ValueError(f"{what} must be a finite positive number, not {value!r}")
    return scale


def check_row(x: np.ndarray, spec: VectorSpec) -> np.ndarray:
    """Return rows as int64 after checking their format and, where it matters, their length."""
    x = require(x, spec.in_format, "input")
    longest = getattr(spec, "longest_row", None)
    if longest is not None and not 1 <= x.shape[-1] <= longest:
        raise ValueError(f"row length must be 1..{longest}, not {x.shape[-1]}")
    return x.astype(np.int64)


def config_words(spec: Spec, constants: Any) -> list[tuple[int, int]]:
    """Return the (address, word) pairs that load `constants`, words as unsigned bit patterns."""
    words = []
    for register in spec.registers:
        values = np.atleast_1d(np.asarray(getattr(constants, register.name)))
        require(values, register.format, f"register {register.name}")
        if values.size > register.depth:
            raise ValueError(f"register {register.name} holds {register.depth} words, "
                             f"not {values.size}")
        mask = (1 << register.format.width) - 1
        words += [(register.address + i, int(v) & mask) for i, v in enumerate(values)]
    return words
