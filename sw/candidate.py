"""What a layer may be computed by: a unit of the catalogue, in its default build or in a variant.

A candidate has a name that people, assignment files and networks use: the unit's alone for the
default build, `softmax_exp2`, and with a colon and the first word of the variant's name for a
variant, `softmax_exp2:s8`. Either has one lane; `softmax_exp2@4` has four.
"""

import dataclasses
import functools
from typing import Any

from vitrtl.sw.catalog import OPERATORS, Unit, methods_of, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.unit import Spec

__all__ = ["LANES", "SEPARATOR", "Candidate", "candidate", "candidate_of", "candidates_of"]

SEPARATOR = ":"
"""Between the unit's name and the variant's."""

LANES = "@"
"""Before the number of lanes, where it is not one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A unit and a build of it.

    Parameters
    ----------
    unit : of the catalogue.
    build : name of the variant, as `Golden.variants` has it; empty for the default build.
    lanes : of the unit, and of the requantizer that takes its results; see
        `VectorSpec.depends_on_lanes`.
    """

    unit: Unit
    build: str = ""
    lanes: int = 1

    @property
    def name(self) -> str:
        """What files and options call it."""
        return self.unit.name + self._ending

    @property
    def operator(self) -> str:
        """What it computes."""
        return self.unit.operator

    @property
    def method(self) -> str:
        """Its name among the candidates of the operator."""
        return self.unit.method + self._ending

    @property
    def spec(self) -> Spec:
        """Build-time numbers; `fitted` gives them what a network needs."""
        golden = self.unit.golden
        spec = golden.variants[self.build] if self.build else golden.spec()
        return spec if self.lanes == 1 else dataclasses.replace(spec, lanes=self.lanes)

    def fitted(self, in_width: int, longest_row: int) -> Spec:
        """Return the build-time numbers for a network.

        One unit serves all layers, so they follow from the widest.

        Parameters
        ----------
        in_width : bits of the layers' inputs; a unit takes no more than the candidate does.
        longest_row : of the layers; a unit takes powers of two, and no less than the candidate.
        """
        spec = self.spec
        spec = dataclasses.replace(spec, in_width=min(spec.in_width, in_width))
        if hasattr(spec, "longest_row"):
            power = 1 << (longest_row - 1).bit_length()
            spec = dataclasses.replace(spec, longest_row=max(spec.longest_row, power))
        return spec

    @property
    def changes(self) -> dict[str, Any]:
        """Fields of the spec that differ from the default build."""
        default = self.unit.golden.spec().asdict()
        return {k: v for k, v in self.spec.asdict().items() if v != default[k]}

    @property
    def _ending(self) -> str:
        variant = f"{SEPARATOR}{_word(self.build)}" if self.build else ""
        return variant if self.lanes == 1 else f"{variant}{LANES}{self.lanes}"


def candidate(name: str) -> Candidate:
    """Return the candidate of that name.

    Raises
    ------
    UserError
        For an unknown unit or variant, listing the known ones, or lanes that it cannot have.
    """
    named, at, count = name.partition(LANES)
    unit_name, colon, word = named.partition(SEPARATOR)
    try:
        entry = unit(unit_name)
    except ValueError as error:
        raise UserError(str(error)) from None
    lanes = 1
    if at:
        lanes = int(count) if count.isascii() and count.isdigit() else 0
        try:
            dataclasses.replace(entry.golden.spec(), lanes=lanes)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
    if not colon:
        return Candidate(entry, lanes=lanes)
    known = {_word(build): build for build in entry.golden.variants}
    if word not in known:
        raise UserError(f"variant of {unit_name} must be one of {', '.join(known)}, not {word!r}"
                        if known else f"{unit_name} has no variants, but {name!r} asks for one")
    return Candidate(entry, known[word], lanes)


def candidates_of(operator: str, software: bool = False) -> list[Candidate]:
    """Return the candidates of an operator: each unit and then its variants, in catalogue order.

    Parameters
    ----------
    software : also those without gates.
    """
    return [Candidate(entry, build) for entry in methods_of(operator, software)
            for build in ("", *entry.golden.variants)]


@functools.cache
def candidate_of(unit_name: str, spec: Spec) -> Candidate:
    """Return the candidate that a spec is a build of, whatever its row length.

    Of the variants whose changes the spec has, the one with the most.
    """
    entry, fields = unit(unit_name), spec.asdict()
    if entry.operator not in OPERATORS:
        raise UserError(f"{unit_name} is no candidate: {entry.operator} offers no choice")
    builds = [Candidate(entry, build) for build in ("", *entry.golden.variants)]
    fitting = [c for c in builds if all(fields[k] == v for k, v in c.changes.items())]
    found = max(fitting, key=lambda c: len(c.changes))
    return dataclasses.replace(found, lanes=fields["lanes"])


def _word(build: str) -> str:
    """Return the first word of a variant's name."""
    return build.replace(",", " ").split()[0]
