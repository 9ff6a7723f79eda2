"""What the units of a network cost, from the cost table and only if it is of today's gates."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping

from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.table import CostError, CostRow, CostTable
from vitrtl.sw.cost.target import Target
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, json_text
from vitrtl.sw.golden.unit import Spec, VectorSpec

__all__ = ["UNITS_ALONE", "Total", "UnitCosts", "look_up", "resource_of"]

UNITS_ALONE = "units, one after the other"
"""What takes the cycles of a network that no accelerator runs, see `UnitCosts.cycles`."""

Units = Mapping[str, Iterable[Spec]]
"""Specs of each unit, by unit name, as `IntegerNetwork.units` gives them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """Cost of a set of units, each built once however many layers or methods use it.

    Parameters
    ----------
    area : sum of the resource that compares units on the target.
    resources : sum of each resource.
    clock_mhz : of the slowest unit; None where no clock is measured.
    """

    area: int
    resources: dict[str, int]
    clock_mhz: float | None


@dataclasses.dataclass(frozen=True)
class UnitCosts:
    """Rows of the cost table for one target.

    Parameters
    ----------
    target : of all rows.
    rows : by unit name and spec digest.
    gates : what rows of equal gates have in common, by the same; methods that differ in their
        run-time constants alone are one unit when it is built.
    wider : the same units with more lanes, by the same and the number of lanes: unit and spec.
    """

    target: Target
    rows: Mapping[tuple[str, str], CostRow]
    gates: Mapping[tuple[str, str], str]
    wider: Mapping[tuple[str, str, int], tuple[str, str]] = dataclasses.field(
        default_factory=dict)

    @property
    def digest(self) -> str:
        """Checksum of the rows: equal costs, equal choice."""
        return digest(*(json_text(dataclasses.asdict(self.rows[key])) for key in sorted(self.rows)))

    def cost(self, unit: str, spec_digest: str, resource: str) -> int:
        """Return how much of a resource a unit takes."""
        return self.rows[unit, spec_digest].resources[resource]

    @functools.cached_property
    def _first(self) -> dict[str, tuple[str, str]]:
        """The first unit and spec of each gates."""
        return {self.gates[key]: key for key in sorted(self.gates, reverse=True)}

    def built(self, unit: str, spec_digest: str) -> tuple[str, str]:
        """Return the unit and spec that are built where a layer needs these: equal gates once."""
        return self._first[self.gates[unit, spec_digest]]

    def cycles(self, chain: Iterable[tuple[str, str]], rows: int, length: int) -> int:
        """Return the cycles in which units, one behind the other, do some rows of one length.

        Rows follow each other as fast as the slowest unit takes them; the latencies of all, and
        the beats of the last row, come on top.
        """
        found = [self.rows[key] for key in chain]
        latency = sum(row.row_cycles(length) - row.beats(length) for row in found)
        return ((rows - 1) * max(row.row_interval(length) for row in found) + latency
                + max(row.beats(length) for row in found))

    def with_lanes(self, chain: Iterable[tuple[str, str]], lanes: int) -> list[
            tuple[str, str]] | None:
        """Return units with as many lanes; None where one of them has no row."""
        found = [key if lanes == 1 else self.wider.get((*key, lanes)) for key in chain]
        return None if None in found else found

    def total(self, units: Units) -> Total:
        """Return the cost of all these units together, those of equal gates once."""
        built = {self.built(name, spec.digest) for name, specs in units.items() for spec in specs}
        rows = [self.rows[key] for key in sorted(built)]
        names = sorted({name for row in rows for name in row.resources})
        clocks = [row.clock_mhz for row in rows if row.clock_mhz is not None]
        return Total(area=sum(row.area for row in rows),
                     resources={name: sum(row.resources[name] for row in rows) for name in names},
                     clock_mhz=min(clocks, default=None))


def look_up(table: CostTable, target: Target, units: Units,
            checksum: Callable[[str, Spec, str], str], mend_all: str = "vitrtl cost",
            progress: Callable[[int], None] = lambda units: None, *,
            lanes: Iterable[int] = ()) -> UnitCosts:
    """Find the row of every unit.

    Parameters
    ----------
    table, target : where to look.
    units : what is needed.
    checksum : `checksum(unit, spec, device)` of the Verilog that would be built now.
    mend_all : command that measures all of them.
    progress : called with the number of units done.
    lanes : numbers of lanes above one, whose rows are taken as well where there are any of today's
        gates.

    Raises
    ------
    CostError
        If a row is missing or of other gates; names the first one, and how many there are.
    """
    rows: dict[tuple[str, str], CostRow] = {}
    gates: dict[tuple[str, str], str] = {}
    refusals = []
    for name, specs in sorted(units.items()):
        for spec in specs:
            try:
                row = table.row(name, spec, target.name, checksum(name, spec, target.device))
            except CostError as error:
                refusals.append(str(error))
            else:
                rows[name, spec.digest] = row
                gates[name, spec.digest] = Build(name, spec).gates
            progress(1)
    wider = {}
    for name, specs in units.items():
        for spec in specs:
            for count in lanes:
                if count == 1 or not isinstance(spec, VectorSpec):
                    continue
                wide = dataclasses.replace(spec, lanes=count)
                try:
                    rows[name, wide.digest] = table.row(name, wide, target.name,
                                                        checksum(name, wide, target.device))
                except CostError:
                    continue
                gates[name, wide.digest] = Build(name, wide).gates
                wider[name, spec.digest, count] = (name, wide.digest)
    if refusals:
        count = len(refusals)
        raise CostError(refusals[0] + (f"; {count} rows in all are missing or stale, `{mend_all}` "
                                       "measures them" if count > 1 else ""))
    return UnitCosts(target=target, rows=rows, gates=gates, wider=wider)


def resource_of(target: Target, name: str | None) -> str:
    """Return the resource that stands for cost: the target's area unless another is named."""
    if name is None:
        return target.area
    if name not in target.resources:
        raise UserError(f"cost on {target.name} must be one of {', '.join(target.resources)}, "
                        f"not {name!r}")
    return name
