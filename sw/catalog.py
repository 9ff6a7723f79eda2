"""The units of `catalog.toml`: operator, method, where it comes from. Everything else reads them.

A unit `softmax_shiftmax` is `vitrtl.sw.golden.softmax_shiftmax` (which binds `GOLDEN`),
`vitrtl.hw.softmax_shiftmax` (which binds `GATES`) and `docs/units/softmax_shiftmax.md`. The float
baselines of `SOFTWARE` have no gates; theirs is `vitrtl.sw.baseline.softmax_float`.
"""

import dataclasses
import gc
import importlib
import tomllib
import warnings
from collections import ChainMap
from collections.abc import Iterator
from importlib import resources
from typing import Any

from vitrtl.sw.golden.unit import Golden, Spec

__all__ = ["ALL", "OPERATORS", "SOFTWARE", "UNITS", "Unit", "methods_of", "unit"]


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """One line of the catalogue."""

    operator: str
    method: str
    source: str
    name: str = ""
    package: str = "vitrtl.sw.golden"

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", f"{self.operator}_{self.method}")

    @property
    def golden(self) -> Golden:
        """Spec, constants and golden function."""
        return importlib.import_module(f"{self.package}.{self.name}").GOLDEN

    @property
    def gates(self) -> type:
        """Amaranth component, built from a spec. Loads Amaranth, nothing else does."""
        return importlib.import_module(f"vitrtl.hw.{self.name}").GATES

    def timing(self, spec: Spec) -> Any:
        """Return the `vitrtl.hw.timing.Timing` of the component built from a spec."""
        with warnings.catch_warnings():
            # Amaranth warns of a component that never becomes part of a design, when it goes.
            warnings.filterwarnings("ignore", ".* created but never used")
            timing = self.gates(spec).timing
            gc.collect()
        return timing


OPERATORS = ("softmax", "gelu", "layernorm")
"""Operators that offer a choice of method."""


def _listed() -> Iterator[Unit]:
    """Yield the units of `catalog.toml`, which is data: no result depends on the whole of it."""
    lines = (resources.files("vitrtl.sw") / "catalog.toml").read_text()
    for operator, methods in tomllib.loads(lines).items():
        for method, source in methods.items():
            yield Unit(operator, method, source, name="" if operator in OPERATORS else operator)


UNITS = {u.name: u for u in _listed()}
"""Units with gates, by name, in the order of `catalog.toml`."""

SOFTWARE = {u.name: u for u in (
    Unit(operator, "float", "FasterTransformer style", package="vitrtl.sw.baseline")
    for operator in OPERATORS
)}
"""Baselines without gates: integers in, a float function, integers out."""

ALL = ChainMap(SOFTWARE, UNITS)
"""Both, as what a node of a network can be; the units come first."""


def unit(name: str, gates: bool = False) -> Unit:
    """Return the unit of that name.

    Parameters
    ----------
    gates : take no baseline that has none.

    Raises
    ------
    ValueError
        For an unknown name, listing the known ones.
    """
    known = UNITS if gates else ALL
    if name not in known:
        raise ValueError(f"unit must be one of {', '.join(known)}, not {name!r}")
    return known[name]


def methods_of(operator: str, software: bool = False) -> list[Unit]:
    """Return the units that implement one operator, in catalogue order.

    Parameters
    ----------
    software : also those without gates.
    """
    return [u for u in (ALL if software else UNITS).values() if u.operator == operator]
