"""Which vector engine runs which operation of a network, and the constants that it loads."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vitrtl.sw.accelerator.configuration_words import ConfigWord
from vitrtl.sw.accelerator.isa import VECTOR
from vitrtl.sw.accelerator.lowering import Vector
from vitrtl.sw.accelerator.spec import AcceleratorSpec, EngineSpec
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.requantize import RequantizeSpec
from vitrtl.sw.golden.unit import Spec, VectorSpec, config_words

__all__ = ["configuration", "engine_of", "engine_spec", "same_results", "unit_configuration"]

MOST_LANES = 8
"""Of any unit; a requantizer holds the constants of a whole tensor once for each lane."""


def engine_spec(vectors: Sequence[Vector], lanes: int, channels: int | None = None) -> EngineSpec:
    """Return the engine that runs some operations of one unit.

    Parameters
    ----------
    vectors : with equal specs.
    lanes : of the engine, if the unit's results do not depend on them.
    channels : of the requantizer that have constants of their own at once; those of the widest
        operation if not given.
    """
    first = vectors[0]
    spec = first.unit.spec
    if not spec.depends_on_lanes:
        spec = dataclasses.replace(spec, lanes=lanes)
    requantize = None
    if first.requantize is not None:
        channels = max(MOST_LANES, channels or max(vector.channels for vector in vectors))
        requantize = dataclasses.replace(first.requantize.spec, lanes=spec.lanes,
                                         channels=1 << (channels - 1).bit_length())
    return EngineSpec(unit=first.unit.op, spec=spec, requantize=requantize)


def same_results(vector: Vector, engine: EngineSpec) -> bool:
    """Whether an engine computes an operation bit for bit, if it holds its constants."""
    spec, other = vector.unit.spec, engine.spec
    if vector.unit.op != engine.unit or not _alike(spec, other, spec.depends_on_lanes):
        return False
    if vector.requantize is None or engine.requantize is None:
        return vector.requantize is None and engine.requantize is None
    given, has = vector.requantize.spec, engine.requantize
    return _alike(dataclasses.replace(given, channels=has.channels), has, False)


def engine_of(vector: Vector, spec: AcceleratorSpec) -> int:
    """Return the number of the engine that runs an operation.

    Raises
    ------
    UserError
        If there is none.
    """
    for i, engine in enumerate(spec.engines):
        if same_results(vector, engine):
            return VECTOR + i
    names = ", ".join(engine.unit for engine in spec.engines) or "none"
    raise UserError(f"accelerator has no engine that computes {vector.label} ({vector.unit.op}) "
                    f"bit for bit; its engines are {names}")


def configuration(vector: Vector, engine: EngineSpec, columns: slice) -> tuple[ConfigWord, ...]:
    """Return the words that load the constants of an operation.

    Constants of a whole tensor are there once for each lane of the engine's requantizer.

    Parameters
    ----------
    columns : elements of a row that are run at once; the requantizer counts from the first.

    Raises
    ------
    UserError
        If the engine has no room for them.
    """
    words = unit_configuration(engine.spec, vector.unit.unit_constants)
    if vector.requantize is not None:
        constants = vector.requantize.unit_constants
        if constants.per_channel:
            changed = {name: getattr(constants, name)[columns] for name in ("bias", "factor")}
        else:
            changed = {name: np.broadcast_to(getattr(constants, name)[:1],
                                             engine.requantize.lanes)
                       for name in ("bias", "factor")}
        if changed["bias"].size > engine.requantize.channels:
            raise UserError(f"requantizer of the engine for {vector.label} must have "
                            f"{changed['bias'].size} channels, not {engine.requantize.channels}")
        words += unit_configuration(engine.requantize, dataclasses.replace(constants, **changed),
                                    requantizer=True)
    return tuple(words)


def unit_configuration(spec: Spec, constants: Any, *, requantizer: bool = False
                       ) -> list[ConfigWord]:
    """Return the words that load the constants of a unit, or of a requantizer."""
    sign = 1 << (spec.config_data_width - 1)
    return [ConfigWord(requantizer=requantizer, address=address, data=(word ^ sign) - sign)
            for address, word in config_words(spec, constants)]


def _alike(one: VectorSpec | RequantizeSpec, other: VectorSpec | RequantizeSpec,
           lanes_matter: bool) -> bool:
    if type(one) is not type(other):
        return False
    return one == (other if lanes_matter else dataclasses.replace(other, lanes=one.lanes))
