"""Test cases on a unit behind a serial port, against the golden model."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from vitrtl.sw.boards.unit_client import UnitClient
from vitrtl.sw.catalog import unit
from vitrtl.sw.stimuli import synthetic_cases
from vitrtl.sw.vectors import Case, MatMulCase

__all__ = ["Comparison", "exercise"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came back from a board.

    Parameters
    ----------
    cases, values : how many were compared.
    mismatches : values that differ.
    differences : for each case with a mismatch, the first of them in words.
    """

    cases: int
    values: int
    mismatches: int
    differences: list[str]


def exercise(client: UnitClient, values: int, seed: int = 1,
             watch: Callable[[list], Iterable[Case | MatMulCase]] = iter) -> Comparison:
    """Play the unit's own test cases and compare every value with the golden model's.

    Parameters
    ----------
    client : of a unit that has been started.
    values : of each kind of case at most; a product that is larger is left out.
    seed : of the random cases.
    watch : wraps the list of cases, to show how far it has come.
    """
    cases = _selected(client, values, seed)
    mismatches, differences = 0, []
    for case in watch(cases):
        found, wanted = client.play(case).ravel(), case.expected.ravel()
        wrong = np.flatnonzero(found != wanted)
        mismatches += wrong.size
        if wrong.size:
            at = int(wrong[0])
            differences.append(f"{case.kind} case '{case.name}', {case.locate(at)}: board "
                               f"{found[at]}, golden {wanted[at]}")
    return Comparison(cases=len(cases), values=sum(case.values for case in cases),
                      mismatches=mismatches, differences=differences)


def _selected(client: UnitClient, values: int, seed: int) -> list[Case | MatMulCase]:
    """Return the first cases of each kind."""
    chosen, left = [], {}
    for case in synthetic_cases(unit(client.unit), client.spec, seed):
        room = left.setdefault(case.kind, values)
        if room <= 0 or case.kind == "timing":
            continue
        case = case.shortened(room)
        if case.values <= values:
            chosen.append(case)
            left[case.kind] -= case.values
    return chosen
