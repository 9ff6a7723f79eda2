"""What units that need a whole row share: where rows begin, and values that come once a row."""

from amaranth.hdl import Module, Signal, Value, ValueLike
from amaranth.lib.fifo import SyncFIFOBuffered

__all__ = ["Handover", "RowGate", "RowsInFlight", "row_buffer"]

BUFFER_SLACK = 64
"""Beats that a row buffer holds beyond the longest row, so that the next row streams in while
the once-a-row work of the last one goes on."""


class RowGate:
    """Where rows begin and end on a stream.

    Parameters
    ----------
    m : module that holds the state.
    transfer : high in the cycles in which a beat passes.
    last : whether that beat ends its row.

    Attributes
    ----------
    in_row : a row has begun and not ended.
    starts, ends : a row begins, or ends, in this cycle.
    """

    def __init__(self, m: Module, transfer: ValueLike, last: ValueLike) -> None:
        self.in_row = Signal()
        self.starts, self.ends = Signal(), Signal()
        m.d.comb += [self.starts.eq(transfer & ~self.in_row), self.ends.eq(transfer & last)]
        with m.If(transfer):
            m.d.sync += self.in_row.eq(~last)


class Handover:
    """A running value of a row, kept for the next stage while the next row begins.

    The running value itself is one place and the held copy another; so at most two rows may have
    begun and not been taken.

    Parameters
    ----------
    m : module that holds the state.
    running : the value; complete in the cycle after `ends`, until the next row arrives here.
    starts : a row begins at the entrance of the stage.
    ends : the row's last beat is being merged into `running`.
    take : the next stage takes the held value; only while `valid`.

    Attributes
    ----------
    may_start : the next row may begin.
    valid, value : the held copy.
    """

    def __init__(self, m: Module, running: Value, starts: ValueLike, ends: ValueLike,
                 take: ValueLike) -> None:
        self.may_start = Signal()
        self.valid = Signal()
        self.value = Signal(running.shape(), reset_less=True)

        complete, move = Signal(), Signal()
        m.d.comb += move.eq(complete & (~self.valid | take))
        with m.If(take):
            m.d.sync += self.valid.eq(0)
        with m.If(move):
            m.d.sync += [complete.eq(0), self.valid.eq(1), self.value.eq(running)]
        with m.If(ends):
            m.d.sync += complete.eq(1)

        untaken = Signal(2)
        m.d.sync += untaken.eq(untaken + starts - take)
        m.d.comb += self.may_start.eq(~untaken[1])


class RowsInFlight:
    """Count of rows that have begun to enter and not wholly left.

    Attributes
    ----------
    none : no row is in flight.
    """

    def __init__(self, m: Module, most: int, starts: ValueLike, ends: ValueLike) -> None:
        count = Signal(range(most + 1))
        self.none = Signal(init=1)
        following = Signal.like(count)
        m.d.comb += following.eq(count + starts - ends)
        m.d.sync += [count.eq(following), self.none.eq(following == 0)]


def row_buffer(width: int, longest_beats: int) -> SyncFIFOBuffered:
    """Return a buffer in block memory for the longest row and the start of the next."""
    depth = 1 << (longest_beats + BUFFER_SLACK - 1).bit_length()
    return SyncFIFOBuffered(width=width, depth=depth)
