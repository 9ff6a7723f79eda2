"""Sums over rows that follow each other without a gap."""

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data

from vitrtl.hw.pipeline import Pipeline

__all__ = ["RunningSums", "sum_stages"]


def sum_stages(lanes: int) -> int:
    """Return the stages from what the lanes of a beat add to its part in the row's sum.

    The last of them is the one in which a sum has nothing to add while no beat comes.
    """
    return max(1, (lanes - 1).bit_length())


class RunningSums:
    """Sums over rows that follow each other, each kept for the next stage when it is complete.

    The running sums are one place and the held ones another; so at most two rows may have begun
    and not been taken. What is added goes to both of them: when a row ends, the held sums take
    what the running ones would become, and these become zero, by their reset. Nothing but zero is
    added while no beat comes, so that a row may wait there until the held sums are taken.

    Parameters
    ----------
    m : module that holds the state.
    layout : of the sums.
    run : stages that advance in every cycle.
    columns : what the lanes of a beat add, by the name of the sum.
    valid, last : a beat comes, and whether it ends its row.
    starts : a row begins at the entrance of the unit.
    take : the next stage takes the held sums; only while `valid`.

    Attributes
    ----------
    may_start : the next row may begin.
    valid, value : the held sums.
    """

    def __init__(self, m: Module, layout: data.Layout, run: Pipeline,
                 columns: Mapping[str, list[Value]], valid: Value, last: Value, starts: Value,
                 take: ValueLike) -> None:
        self.may_start = Signal()
        self.valid = Signal()
        held = Signal(layout, reset_less=True)
        self.value = Value.cast(held)

        # The last stage is zero where no beat comes.
        stages = sum_stages(max(len(column) for column in columns.values()))
        comes = run.reg(valid, stages - 1, reset_less=False)
        sums, move = Signal(layout), Signal()
        for name, column in columns.items():
            value = _added(run, column, stages)
            added = Signal(value.shape(), name=f"added_{name}")
            m.d.sync += added.eq(Mux(comes, value, 0))
            following = Signal(layout[name].shape, name=f"following_{name}")
            m.d.comb += following.eq(sums[name] + added)
            m.d.sync += sums[name].eq(Mux(move, 0, following))
            with m.If(move):
                m.d.sync += held[name].eq(following)

        ends, waits = Signal(), Signal()
        m.d.comb += move.eq((ends | waits) & (~self.valid | take))
        m.d.sync += [
            ends.eq(comes & run.reg(last, stages - 1)),
            waits.eq((ends | waits) & ~move),
            self.valid.eq(move | (self.valid & ~take)),
        ]
        untaken = Signal(2)
        m.d.sync += untaken.eq(untaken + starts - take)
        m.d.comb += self.may_start.eq(~untaken[1])


def _added(run: Pipeline, column: list[Value], stages: int) -> Value:
    """Return the sum of a column, before the last of some stages."""
    for _ in range(stages - 1):
        column = [run.reg(a + b) for a, b in zip(column[::2], column[1::2], strict=True)]
    return column[0] if len(column) == 1 else column[0] + column[1]
