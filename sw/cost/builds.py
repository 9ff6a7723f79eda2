"""Which units are built: the defaults, those of a network, those of an assignment."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.golden.unit import Spec

__all__ = ["Build", "default_builds", "network_builds", "spec_with"]


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


def default_builds(names: Iterable[str] = ()) -> list[Build]:
    """Return the default builds of some units, or of all: those of the shipped cost table.

    The requantizer comes twice, because the residual stream has 16 bits.
    """
    builds = []
    for name in names or UNITS:
        spec = unit(name).golden.spec()
        builds.append(Build(name, spec))
        if name == "requantize":
            builds.append(Build(name, dataclasses.replace(spec, out_width=16)))
    return builds


def network_builds(folder: Path) -> list[Build]:
    """Return the units that an integer network needs, each with its specs."""
    from vitrtl.sw.network import load

    return [Build(name, spec) for name, specs in load(folder).units.items() for spec in specs]


def spec_with(name: str, changes: Mapping[str, str]) -> Spec:
    """Return a unit's default spec with some fields changed, given as text.

    Raises
    ------
    ValueError
        For an unknown field, or a value that is not of the field's kind.
    """
    default = unit(name).golden.spec()
    fields = default.asdict()
    for field, text in changes.items():
        kind = type(fields.get(field))
        try:
            fields[field] = {"true": True, "false": False}[text] if kind is bool else int(text)
        except (KeyError, ValueError):
            raise ValueError(f"{name} {field} must be "
                             f"{'true or false' if kind is bool else 'an integer'}, "
                             f"not {text!r}") from None
    return type(default).fromdict(fields)
