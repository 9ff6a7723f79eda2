"""Block memory with one write and one read port, as every unit uses it."""

from amaranth.hdl import ShapeLike
from amaranth.lib import memory

__all__ = ["block_memory"]


def block_memory(shape: ShapeLike, depth: int) -> memory.Memory:
    """Return a memory that synthesis draws into block memory.

    No unit reads a word in the cycle that writes it, so synthesis is told not to spend gates on
    what such a read would give. On most devices the answer comes late in the cycle: it must go
    straight into a register.
    """
    return memory.Memory(shape=shape, depth=depth, init=(),
                         attrs={"ram_style": "block", "no_rw_check": "1"})
