"""A unit as an IP core: AXI4-Stream for its rows, AXI4-Lite for its constants."""

import math

from amaranth.hdl import Array, Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import AXI4Lite
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.hw.stream import ConfigWord
from vitrtl.sw.boards.protocol import IDENTITY_BYTES
from vitrtl.sw.golden.unit import Spec

__all__ = ["BUS_BITS", "AxiConfig", "AxiStream", "AxiUnit", "config_address_bits",
           "element_bytes", "stream_names"]

BUS_BITS = 32
"""Width of the AXI4-Lite bus, and of the longest configuration word."""

OKAY, SLVERR = 0, 2

WORD_BYTES = BUS_BITS // 8


class AxiStream(wiring.Signature):
    """Signals of an AXI4-Stream, seen from the transmitter.

    Members
    -------
    tdata : lane 0 in the lowest bytes, each element in a whole number of bytes: on the way out
        extended by its sign, or by zeros if unsigned; on the way in the bits above are ignored.
    tkeep : which bytes hold an element, with several lanes only.
    tlast : the beat ends its row; not on a stream without rows.
    """

    def __init__(self, payload: data.StructLayout) -> None:
        lanes, shape = _lanes(payload)
        count = lanes * element_bytes(shape)
        members = {"tdata": Out(8 * count)}
        if "keep" in payload.members:
            members["tkeep"] = Out(count)
        if "last" in payload.members:
            members["tlast"] = Out(1)
        super().__init__({**members, "tvalid": Out(1), "tready": In(1)})


class AxiConfig(wiring.Component):
    """A configuration stream behind an AXI4-Lite port.

    Writing the word at byte address 4 * a sends it to configuration address a; the answer comes
    when the unit has taken it, which is when no row is in flight. A write that does not cover all
    four bytes is answered by SLVERR and has no effect. Words 0 and 1 read as the core's identity;
    nothing else can be read.

    Parameters
    ----------
    spec : of the unit.
    identity : eight bytes that tell a driver which unit this is.

    Members
    -------
    bus : from the driver.
    c : to the unit.

    Latency
    -------
    Two cycles from an address, or an address and its word, to the answer, if the unit is idle.
    """

    def __init__(self, spec: Spec, identity: bytes) -> None:
        if spec.config_data_width > BUS_BITS:
            raise ValueError(f"configuration words must be at most {BUS_BITS} bits behind "
                             f"AXI4-Lite, not {spec.config_data_width}")
        if len(identity) != IDENTITY_BYTES:
            raise ValueError(f"identity must be {IDENTITY_BYTES} bytes, not {len(identity)}")
        self.identity = identity
        super().__init__({"bus": In(AXI4Lite(config_address_bits(spec))),
                          "c": Out(stream.Signature(ConfigWord(spec)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        """Take address and word in any order, hand them on, then answer."""
        bus, c = self.bus, self.c
        has_address, has_word = Signal(), Signal()
        whole = Signal()
        m.d.comb += [bus.awready.eq(~has_address), bus.wready.eq(~has_word)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), c.payload.address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_word.eq(1), c.payload.data.eq(bus.wdata), whole.eq(bus.wstrb.all())]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        ready = has_address & has_word & ~bus.bvalid
        m.d.comb += c.valid.eq(ready & whole)
        with m.If(ready & (c.ready | ~whole)):
            m.d.sync += [has_address.eq(0), has_word.eq(0), bus.bvalid.eq(1),
                         bus.bresp.eq(Mux(whole, OKAY, SLVERR))]

    def _read(self, m: Module) -> None:
        """Take an address, then answer."""
        bus = self.bus
        has_address = Signal()
        address = Signal(len(bus.araddr) - 2)
        words = [int.from_bytes(self.identity[start:start + WORD_BYTES], "little")
                 for start in range(0, IDENTITY_BYTES, WORD_BYTES)]
        m.d.comb += bus.arready.eq(~has_address)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [has_address.eq(1), address.eq(bus.araddr[2:])]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(has_address & ~bus.rvalid):
            known = address < len(words)
            m.d.sync += [has_address.eq(0), bus.rvalid.eq(1),
                         bus.rdata.eq(Mux(known, Array(words)[address[0]], 0)),
                         bus.rresp.eq(Mux(known, OKAY, SLVERR))]


class AxiUnit(wiring.Component):
    """A unit between AXI4-Streams, configured over AXI4-Lite.

    The first beat after a reset or after a beat with `tlast` begins a row, so that no sideband is
    needed to mark it. Every output is a register, or comes from registers alone.

    Parameters
    ----------
    unit : a component of the catalogue.
    spec : its numbers.
    identity : eight bytes that tell a driver which unit this is.

    Members
    -------
    s_axi : constants, see `AxiConfig`.
    s_axis, s_axis_w, s_axis_a : rows in; weights and activations of a matrix multiplication.
    m_axis : rows out.

    Latency
    -------
    One cycle more than the unit.

    Throughput
    ----------
    That of the unit.
    """

    LATENCY = 1

    def __init__(self, unit: wiring.Component, spec: Spec, identity: bytes) -> None:
        self.unit = unit
        self.config = AxiConfig(spec, identity)
        self.names = stream_names(unit)
        members = {"s_axi": In(AXI4Lite(config_address_bits(spec)))}
        for name, port in self.names.items():
            signature = AxiStream(getattr(unit, port).payload.shape())
            members[name] = Out(signature) if name.startswith("m_") else In(signature)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = unit = self.unit
        m.submodules.config = config = self.config
        wiring.connect(m, wiring.flipped(self.s_axi), config.bus)
        wiring.connect(m, config.c, unit.c)
        for name, port_name in self.names.items():
            bus, port = getattr(self, name), getattr(unit, port_name)
            if name.startswith("s_"):
                self._take(m, bus, port)
            else:
                # A unit's ready may follow that of its output in the same cycle; AXI allows no
                # such path.
                m.submodules[f"{name}_buffer"] = buffer = SkidBuffer(port.payload.shape())
                wiring.connect(m, port, buffer.i)
                self._give(m, buffer.o, bus)
        return m

    def _take(self, m: Module, bus: wiring.PureInterface, port: wiring.PureInterface) -> None:
        """Connect a stream into the unit."""
        payload = port.payload
        lanes, shape = _lanes(payload.shape())
        step = 8 * element_bytes(shape)
        m.d.comb += [port.valid.eq(bus.tvalid), bus.tready.eq(port.ready)]
        m.d.comb += [payload.data[lane].eq(bus.tdata[lane * step:lane * step + shape.width])
                     for lane in range(lanes)]
        members = payload.shape().members
        if "keep" in members:
            m.d.comb += payload.keep.eq(Cat(bus.tkeep[lane * step // 8] for lane in range(lanes)))
        if "last" in members:
            first = Signal(init=1)
            with m.If(bus.tvalid & bus.tready):
                m.d.sync += first.eq(bus.tlast)
            m.d.comb += [payload.first.eq(first), payload.last.eq(bus.tlast)]

    def _give(self, m: Module, port: wiring.PureInterface, bus: wiring.PureInterface) -> None:
        """Connect a stream out of the unit."""
        payload = port.payload
        lanes, shape = _lanes(payload.shape())
        count = element_bytes(shape)
        m.d.comb += [bus.tvalid.eq(port.valid), port.ready.eq(bus.tready),
                     bus.tlast.eq(payload.last),
                     bus.tdata.eq(Cat(_extended(payload.data[lane], 8 * count)
                                      for lane in range(lanes)))]
        if "keep" in payload.shape().members:
            m.d.comb += bus.tkeep.eq(Cat(bit.replicate(count) for bit in payload.keep))


def stream_names(unit: wiring.Component) -> dict[str, str]:
    """Return the AXI4-Streams of a unit: their names to those of the unit's ports."""
    ports = {name: member.flow for name, member in unit.signature.members.items() if name != "c"}
    inputs = [name for name, flow in ports.items() if flow == In]
    output, = (name for name, flow in ports.items() if flow == Out)
    return {**{"s_axis" if len(inputs) == 1 else f"s_axis_{name}": name for name in inputs},
            "m_axis": output}


def element_bytes(shape: Shape) -> int:
    """Return the bytes of TDATA that an element takes."""
    return math.ceil(shape.width / 8)


def config_address_bits(spec: Spec) -> int:
    """Return the bits of a byte address that reaches every register, and the identity."""
    identity_words = IDENTITY_BYTES // WORD_BYTES
    return max(spec.config_address_width, (identity_words - 1).bit_length()) + 2


def _lanes(payload: data.StructLayout) -> tuple[int, Shape]:
    """Return the elements of a beat, and what each is."""
    array = payload.members["data"]
    return array.length, Shape.cast(array.elem_shape)


def _extended(element: Value, width: int) -> Value:
    """Return an element in more bits of the same value."""
    fill = element[-1] if element.shape().signed else Const(0, 1)
    return Cat(element, fill.replicate(width - len(element)))
