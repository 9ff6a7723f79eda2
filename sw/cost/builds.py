"""Which units are built: the defaults, those of a network, those that an assignment chooses."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from vitrtl.sw import assignment
from vitrtl.sw.candidate import candidate, candidate_of, candidates_of
from vitrtl.sw.catalog import OPERATORS, UNITS, unit
from vitrtl.sw.golden.unit import Spec, VectorSpec
from vitrtl.sw.network import IntegerNetwork

__all__ = ["Build", "assignment_builds", "candidate_builds", "default_builds", "network_builds",
           "spec_with", "table_builds"]

TABLE_LANES = 4
"""Lanes that are measured beside one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Build:
    """One unit with its build-time numbers."""

    unit: str
    spec: Spec

    @property
    def changes(self) -> dict[str, object]:
        """Fields that differ from the default spec."""
        default = type(self.spec)().asdict()
        return {k: v for k, v in self.spec.asdict().items() if v != default[k]}

    @property
    def gates(self) -> str:
        """What builds with equal gates have in common; loads Amaranth.

        Methods that differ in their run-time constants alone share a component, and one of them
        built from a spec is the other built from it.
        """
        component = unit(self.unit, gates=True).gates
        return f"{component.__module__}.{component.__qualname__} {self.spec.digest}"


def default_builds(names: Iterable[str] = ()) -> list[Build]:
    """Return the default build of some units, or of all, and the variants that each names."""
    builds = []
    for name in names or UNITS:
        golden = unit(name, gates=True).golden
        builds += [Build(name, spec) for spec in (golden.spec(), *golden.variants.values())]
    return builds


def table_builds() -> list[Build]:
    """Return the builds of the shipped cost table: the default ones, and units of four lanes."""
    builds = []
    for build in default_builds():
        builds.append(build)
        if isinstance(build.spec, VectorSpec) and build.spec == type(build.spec)():
            builds.append(Build(build.unit, dataclasses.replace(build.spec, lanes=TABLE_LANES)))
    return builds


def network_builds(network: IntegerNetwork) -> list[Build]:
    """Return the units that a network needs, each with its specs."""
    return [Build(name, spec) for name, specs in network.units.items() for spec in specs]


def candidate_builds(network: IntegerNetwork) -> list[Build]:
    """Return the units that a network could need, were other candidates chosen for its layers."""
    choices = {c.name for operator in _needs(network) for c in candidates_of(operator)}
    choices |= set(network.methods.values())
    return _with_choices(network, choices)


def assignment_builds(path: Path, network: IntegerNetwork) -> list[Build]:
    """Return the units that a network needs under an assignment.

    Raises
    ------
    UserError
        If the assignment is of another network, or names a layer that the network has not.
    """
    methods = assignment.methods_with(path, network.name, network.methods)
    return _with_choices(network, set(methods.values()))


def spec_with(name: str, changes: Mapping[str, str]) -> Spec:
    """Return a unit's default spec with some fields changed, given as text.

    Raises
    ------
    ValueError
        For an unknown field, or a value that is not of the field's kind.
    """
    default = unit(name, gates=True).golden.spec()
    fields = default.asdict()
    for field, text in changes.items():
        kind = type(fields.get(field))
        try:
            fields[field] = ({"true": True, "false": False}[text] if kind is bool
                             else text if kind is str else int(text))
        except (KeyError, ValueError):
            raise ValueError(f"{name} {field} must be "
                             f"{'true or false' if kind is bool else 'an integer'}, "
                             f"not {text!r}") from None
    return type(default).fromdict(fields)


def _with_choices(network: IntegerNetwork, choices: set[str]) -> list[Build]:
    """Return the network's units without a choice, and those chosen, as wide as it needs them."""
    needs = _needs(network)
    used = {build: candidate_of(build.unit, build.spec).name
            if unit(build.unit).operator in OPERATORS else "" for build in network_builds(network)}
    builds = [build for build, name in used.items() if not name or name in choices]
    for name in choices - set(used.values()):
        chosen = candidate(name)
        builds.append(Build(chosen.unit.name, chosen.fitted(*needs[chosen.operator])))
    # Codes that are no integers need an array of their own.
    operands = {build.spec.operand for build in builds if isinstance(build.spec, VectorSpec)}
    arrays = [build for build in builds if build.unit == "matmul"]
    missing = sorted(operands - {array.spec.operand for array in arrays})
    builds += [Build(array.unit, dataclasses.replace(array.spec, operand=operand))
               for array in arrays for operand in missing]
    return sorted(dict.fromkeys(builds), key=lambda build: (build.unit, build.spec.digest))


def _needs(network: IntegerNetwork) -> dict[str, tuple[int, int]]:
    """Return bits and longest row of the inputs of each operator that offers a choice."""
    needs: dict[str, tuple[int, int]] = {}
    for node in network.nodes:
        if node.name in network.methods:
            operator, value = unit(node.op).operator, network.values[node.inputs[0]]
            width, row = needs.get(operator, (0, 0))
            needs[operator] = max(width, value.format.width), max(row, value.shape[-1])
    return needs
