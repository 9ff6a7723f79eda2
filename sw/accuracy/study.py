"""The error study: every method at every scale and row length, against float64."""

import dataclasses
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.sw.accuracy.rows import REAL_ROWS, affine, every_code, quantized
from vitrtl.sw.catalog import OPERATORS, Unit, methods_of
from vitrtl.sw.files import digest
from vitrtl.sw.golden.log2_code import FRACTION_BITS, log2_value
from vitrtl.sw.golden.unit import VectorSpec
from vitrtl.sw.reference import REFERENCES
from vitrtl.sw.sources import digest_module

__all__ = ["DEFAULT", "LENGTHS", "SCALES", "TABLE_SCALES", "Errors", "Point", "Subject", "measure",
           "plan", "respond", "subjects", "worst"]

TABLE_SCALES = tuple(Fraction(t) for t in "0.01 0.02 0.05 0.1 0.137 0.2 0.25".split())
"""Input scales that tables show."""

SCALES = tuple(sorted({*TABLE_SCALES, *(Fraction(f"{0.01 * 25 ** (i / 24):.3g}")
                                        for i in range(25))}))
"""Input scales of the study: those, and others between them, evenly on a log axis."""

LENGTHS = (17, 65, 197, 577)
"""Row lengths of the study; the longer ones are those of vision transformers."""

DEFAULT = "default"
"""Name of the build that `spec()` gives, beside the variants that a method names."""

RISES_FROM = -0.75
"""GELU rises from here on: its minimum lies at -0.7518."""


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """One build of a method.

    Parameters
    ----------
    unit : of the catalogue.
    build : `DEFAULT`, or the method's name of the variant.
    spec : build-time numbers, before its longest row is raised to that of the study.
    """

    unit: Unit
    build: str
    spec: VectorSpec

    @property
    def label(self) -> str:
        """Name for people."""
        return self.unit.name if self.build == DEFAULT else f"{self.unit.name}, {self.build}"

    @property
    def made_from(self) -> str:
        """Checksum of everything that its errors are made from."""
        here = Path(__file__).parent
        measured_by = [here / "rows.py", here / "study.py", here.parent / "reference.py"]
        return digest(digest_module(f"{self.unit.package}.{self.unit.name}"), self.spec.digest,
                      *(path.read_bytes() for path in measured_by))


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """One measurement to make; `length` is None where the method is element-wise."""

    subject: Subject
    scale: Fraction
    length: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """What one build of a method differs from float64 by, at one scale and row length.

    The reference is the float64 operator of what the input codes stand for, so that the error is
    the method's own. Where the method refuses the scale, the figures are None.

    Parameters
    ----------
    unit, build, operator, method : which gates.
    scale : asked for.
    fitted_scale : that the method can work with, at or above it.
    length : of the rows; None for an element-wise method.
    refused : why there are no figures, or nothing.
    largest, mean : absolute error of an output; the mean is over all elements of all rows.
    worst_code, worst_input, worst_rows : input code with the largest error, what it stands for,
        and the kind of its row.
    lost_mean, lost_least, lost_most : of a softmax, `1 - sum` of a row's probabilities.
    falls : neighbours in the order of a row's inputs of which the larger gets the smaller output,
        compared at the output's own resolution. Equal inputs are no neighbours. For GELU only
        from x = -0.75 on, where it rises; a LayerNorm has gamma 1 and beta 0 for this.
    made_from : checksum of the sources.
    """

    unit: str
    build: str
    operator: str
    method: str
    scale: float
    fitted_scale: float | None = None
    length: int | None = None
    refused: str = ""
    largest: float | None = None
    mean: float | None = None
    worst_code: int | None = None
    worst_input: float | None = None
    worst_rows: str = ""
    lost_mean: float | None = None
    lost_least: float | None = None
    lost_most: float | None = None
    falls: int | None = None
    made_from: str = ""


def subjects(units: Iterable[Unit] = ()) -> list[Subject]:
    """Return the default build of some methods, or of all of them, and the variants they name."""
    chosen = list(units) or [u for operator in OPERATORS for u in methods_of(operator)]
    return [Subject(entry, build, spec) for entry in chosen
            for build, spec in ({DEFAULT: entry.golden.spec()} | entry.golden.variants).items()]


def plan(chosen: Iterable[Subject], scales: Iterable[Fraction] = SCALES,
         lengths: Iterable[int] = LENGTHS) -> list[Point]:
    """Return what to measure: row lengths only where an output depends on its row."""
    scales, lengths = list(scales), list(lengths)
    return [Point(subject, scale, length) for subject in chosen for scale in scales
            for length in (lengths if subject.spec.rowwise else [None])]


def measure(point: Point) -> Errors:
    """Run one build of a method on the study's rows."""
    subject, length = point.subject, point.length
    entry, golden = subject.unit, subject.unit.golden
    found = Errors(unit=entry.name, build=subject.build, operator=entry.operator,
                   method=entry.method, scale=float(point.scale), length=length,
                   made_from=subject.made_from)
    try:
        spec = _long_enough(subject.spec, length)
        scale = golden.fit_scale(spec, point.scale)
        kinds = _rows(entry.operator, spec, float(scale), length)
        codes = np.concatenate(list(kinds.values()))
        exported, plain, parameters = _exports(entry, spec, scale, codes)
    except ValueError as error:
        return dataclasses.replace(found, refused=str(error))

    inputs = codes * float(scale)
    outputs = _values(golden.function(codes, spec, exported[0]), spec, exported[1])
    error = np.abs(outputs - REFERENCES[entry.operator](inputs, **parameters))
    row, place = np.unravel_index(error.argmax(), error.shape)
    ordered = outputs if plain is exported else _values(
        golden.function(codes, spec, plain[0]), spec, plain[1])
    return dataclasses.replace(
        found, fitted_scale=float(scale), largest=float(error.max()), mean=float(error.mean()),
        worst_code=int(codes[row, place]), worst_input=float(inputs[row, place]),
        worst_rows=_kind_of(kinds, row), falls=_falls(entry.operator, inputs, ordered),
        **(_lost(outputs) if entry.operator == "softmax" else {}))


def respond(subject: Subject, scale: Fraction, codes: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the scale that a softmax or GELU works at, and its outputs there in float.

    Raises
    ------
    ValueError
        If the method refuses the scale.
    """
    golden = subject.unit.golden
    spec = _long_enough(subject.spec, codes.shape[-1])
    scale = golden.fit_scale(spec, scale)
    constants, out_scale = golden.export(spec, scale, codes)
    return float(scale), _values(golden.function(codes, spec, constants), spec, out_scale)


def worst(found: Iterable[Errors]) -> Errors:
    """Return one line for several row lengths, or scales, of one build.

    It is the measurement of the largest error, with the largest mean error, the widest range of
    lost mass and all falls. Refused measurements count only where all are.
    """
    found = list(found)
    measured = [e for e in found if not e.refused]
    if not measured:
        return found[0]
    top = max(measured, key=lambda e: e.largest)
    lost = {} if top.lost_mean is None else {
        "lost_mean": max((e.lost_mean for e in measured), key=abs),
        "lost_least": min(e.lost_least for e in measured),
        "lost_most": max(e.lost_most for e in measured)}
    return dataclasses.replace(top, mean=max(e.mean for e in measured),
                               falls=sum(e.falls for e in measured), **lost)


def _long_enough(spec: VectorSpec, length: int | None) -> VectorSpec:
    if length is None or length <= getattr(spec, "longest_row", length):
        return spec
    return dataclasses.replace(spec, longest_row=length)


def _rows(operator: str, spec: VectorSpec, scale: float,
          length: int | None) -> dict[str, np.ndarray]:
    """Return input codes by kind of row."""
    if operator not in REAL_ROWS:
        return {"every code": every_code(spec.in_format, length)}
    return {kind: quantized(values, spec.in_format, scale)
            for kind, values in REAL_ROWS[operator](length).items()}


def _exports(entry: Unit, spec: VectorSpec, scale: Fraction,
             codes: np.ndarray) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Return what the export gives, that under which outputs are ordered, and float parameters."""
    export = entry.golden.export
    if entry.operator != "layernorm":
        exported = export(spec, scale, codes)
        return exported, exported, {}
    gamma, beta = affine(codes.shape[-1])
    plain = export(spec, scale, codes, gamma=[1.0] * gamma.size, beta=[0.0] * gamma.size)
    return (export(spec, scale, codes, gamma=gamma.tolist(), beta=beta.tolist()), plain,
            {"gamma": gamma, "beta": beta})


def _values(codes: np.ndarray, spec: VectorSpec, out_scale: Any) -> np.ndarray:
    """Return what output codes stand for."""
    if getattr(spec, "operand", "linear") == "log2":
        return log2_value(codes) / 2.0**FRACTION_BITS
    if isinstance(out_scale, Fraction):
        return codes * float(out_scale)
    return codes * np.array([float(s) for s in out_scale])


def _kind_of(kinds: dict[str, np.ndarray], row: int) -> str:
    """Return the kind of a row of the concatenated rows."""
    ends = np.cumsum([len(rows) for rows in kinds.values()])
    return list(kinds)[int(np.searchsorted(ends, row, side="right"))]


def _lost(probabilities: np.ndarray) -> dict[str, float]:
    lost = 1 - probabilities.sum(axis=-1)
    return {"lost_mean": float(lost.mean()), "lost_least": float(lost.min()),
            "lost_most": float(lost.max())}


def _falls(operator: str, inputs: np.ndarray, outputs: np.ndarray) -> int:
    """Count neighbours in the order of a row's inputs of which the larger has less output."""
    order = np.argsort(inputs, axis=-1, kind="stable")
    x, y = (np.take_along_axis(v, order, axis=-1) for v in (inputs, outputs))
    falls = (x[:, 1:] > x[:, :-1]) & (y[:, 1:] < y[:, :-1])
    if operator == "gelu":
        falls &= x[:, :-1] > RISES_FROM
    return int(falls.sum())
