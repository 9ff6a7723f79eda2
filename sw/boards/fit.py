"""Which units fit a board: rows of the cost table against what the device has."""

import dataclasses
from collections.abc import Iterable

from vitrtl.sw.boards.board import Board
from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.table import CostError, CostTable

__all__ = ["FILL", "Fit", "fits"]

FILL = 0.8
"""Share of a resource that one unit may take: the shell around it and the routing need the rest."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fit:
    """One unit on one board.

    Parameters
    ----------
    build : the unit and its spec.
    shares : resource to the share of the device that the unit takes; empty where the cost table
        has no row of the unit.
    clock_mhz : rate in the cost table; None where none was measured.
    """

    build: Build
    shares: dict[str, float]
    clock_mhz: float | None

    @property
    def tightest(self) -> str | None:
        """The resource that is scarcest; None if nothing was measured."""
        return max(self.shares, key=self.shares.get, default=None)

    @property
    def fits(self) -> bool:
        """Whether the unit is known to leave room for its shell."""
        return self.tightest is not None and self.shares[self.tightest] <= FILL


def fits(board: Board, builds: Iterable[Build], table: CostTable) -> list[Fit]:
    """Return how each unit fits a board, in the order of the builds."""
    found = []
    for build in builds:
        try:
            row = table.row(build.unit, build.spec, board.costs)
        except CostError:
            found.append(Fit(build, {}, None))
            continue
        shares = {name: row.resources[name] / has for name, has in board.resources.items()}
        found.append(Fit(build, shares, row.clock_mhz))
    return found
