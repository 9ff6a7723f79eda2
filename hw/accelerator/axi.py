"""Signatures of AXI4 and AXI4-Lite, seen from the manager.

Names and meanings are those of the AMBA AXI specification (ARM IHI 0022), without the signals that
have a fixed value here: no locks, caches, protection, quality of service, regions or users.
"""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ADDRESS_BITS", "AXI4", "INCR", "AXI4Lite", "AXI4Read", "AXI4Write", "Burst",
           "ReadClient", "size_code"]

ADDRESS_BITS = 32
INCR = 1
"""The burst type that every burst has: addresses rise."""

LENGTH_BITS = 8


class AXI4Read(wiring.Signature):
    """Read address and read data.

    Parameters
    ----------
    bus_bytes : of a beat.
    id_bits : of the identifiers.
    """

    def __init__(self, bus_bytes: int, id_bits: int) -> None:
        super().__init__({
            "arid": Out(id_bits), "araddr": Out(ADDRESS_BITS), "arlen": Out(LENGTH_BITS),
            "arsize": Out(3), "arburst": Out(2), "arvalid": Out(1), "arready": In(1),
            "rid": In(id_bits), "rdata": In(8 * bus_bytes), "rresp": In(2), "rlast": In(1),
            "rvalid": In(1), "rready": Out(1),
        })


class AXI4Write(wiring.Signature):
    """Write address, write data and write response; parameters as in `AXI4Read`."""

    def __init__(self, bus_bytes: int, id_bits: int) -> None:
        super().__init__({
            "awid": Out(id_bits), "awaddr": Out(ADDRESS_BITS), "awlen": Out(LENGTH_BITS),
            "awsize": Out(3), "awburst": Out(2), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(8 * bus_bytes), "wstrb": Out(bus_bytes), "wlast": Out(1),
            "wvalid": Out(1), "wready": In(1),
            "bid": In(id_bits), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        })


class AXI4(wiring.Signature):
    """Both halves; parameters as in `AXI4Read`."""

    def __init__(self, bus_bytes: int, id_bits: int) -> None:
        super().__init__({**AXI4Read(bus_bytes, id_bits).members,
                          **AXI4Write(bus_bytes, id_bits).members})


class AXI4Lite(wiring.Signature):
    """Registers of 32 bits.

    Parameters
    ----------
    address_bits : of a byte address.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__({
            "awaddr": Out(address_bits), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(address_bits), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        })


class Burst(data.StructLayout):
    """What a client asks for: beats in a row that cross no page.

    Members
    -------
    addr : byte address, a multiple of a beat.
    length : beats less one.
    """

    def __init__(self) -> None:
        super().__init__({"addr": ADDRESS_BITS, "length": LENGTH_BITS})


class ReadClient(wiring.Signature):
    """What asks for bursts and takes their beats, seen from the client.

    Members
    -------
    ask : bursts.
    r : their beats, in order.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__({"ask": Out(stream.Signature(Burst())),
                          "r": In(stream.Signature(8 * bus_bytes))})


def size_code(bus_bytes: int) -> int:
    """Return AxSIZE of bursts of whole beats."""
    return (bus_bytes - 1).bit_length()
