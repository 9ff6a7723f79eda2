"""Which units fit a board: rows of the cost table against what the device has."""

import dataclasses
from collections.abc import Iterable

from vitrtl.sw.boards.board import Board
from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.table import CostTable

__all__ = ["FILL", "Fit", "fits"]

FILL = 0.8
"""Share of a resource that one unit may take: the shell around it and the routing need the rest."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fit:
    """One unit on one board.

    Parameters
    ----------
    build : the unit and its spec.
    shares : resource to the share of the device that the unit takes.
    clock_mhz : rate in the cost table; None where none was measured.
    """

    build: Build
    shares: dict[str, float]
    clock_mhz: float | None

    @property
    def tightest(self) -> str:
        """The resource that is scarcest."""
        return max(self.shares, key=self.shares.get)

    @property
    def fits(self) -> bool:
        """Whether the unit leaves room for its shell."""
        return self.shares[self.tightest] <= FILL


def fits(board: Board, builds: Iterable[Build], table: CostTable) -> list[Fit]:
    """Return how each unit fits a board, in the order of the builds.

    Raises
    ------
    CostError
        If the cost table lacks a row of the board's target.
    """
    found = []
    for build in builds:
        row = table.row(build.unit, build.spec, board.costs)
        shares = {name: row.resources[name] / has for name, has in board.resources.items()}
        found.append(Fit(build, shares, row.clock_mhz))
    return found
