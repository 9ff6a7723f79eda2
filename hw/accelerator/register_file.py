"""The accelerator's registers behind an AXI4-Lite port."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import AXI4Lite
from vitrtl.sw.accelerator.registers import ADDRESS_BITS, REGISTERS, reset_values
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["RegisterFile"]

OKAY, SLVERR = 0, 2
CONSTANT = ("id", "version", "spec")


class RegisterFile(wiring.Component):
    """Answers reads and writes of `vitrtl.sw.accelerator.registers.REGISTERS`.

    Parameters
    ----------
    spec : of the accelerator.

    Members
    -------
    bus : what drives the accelerator.
    command : the bits of CONTROL, for the cycle in which they are written.
    program, ... : registers that can be written.
    status, ... : values of those that can only be read.

    Latency
    -------
    Two cycles from address, or address and data, to the answer. No port signal depends on another
    in the same cycle.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        self.spec = spec
        self.values = reset_values(spec)
        super().__init__({
            "bus": In(AXI4Lite(ADDRESS_BITS)),
            "command": Out(len(REGISTERS["control"].fields)),
            **{name: Out(register.bits, init=self.values[name])
               for name, register in REGISTERS.items() if register.access == "rw"},
            **{name: In(register.bits, init=self.values[name])
               for name, register in REGISTERS.items()
               if register.access == "ro" and name not in CONSTANT},
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        """Take address and data in any order, then do and answer."""
        bus = self.bus
        has_address, has_data = Signal(), Signal()
        address = Signal(ADDRESS_BITS - 2, reset_less=True)
        word, strobe = Signal(32, reset_less=True), Signal(4, reset_less=True)
        m.d.comb += [bus.awready.eq(~has_address), bus.wready.eq(~has_data)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_data.eq(1), word.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(has_address & has_data & ~bus.bvalid):
            m.d.sync += [has_address.eq(0), has_data.eq(0), bus.bvalid.eq(1), bus.bresp.eq(SLVERR)]
            mask = Cat(bit.replicate(8) for bit in strobe)
            with m.Switch(address):
                for name, register in REGISTERS.items():
                    if register.access == "ro":
                        continue
                    with m.Case(register.address // 4):
                        m.d.sync += bus.bresp.eq(OKAY)
                        if register.access == "wo":
                            m.d.comb += self.command.eq(word & mask)
                        else:
                            value = getattr(self, name)
                            m.d.sync += value.eq((word & mask) | (value & ~mask))

    def _read(self, m: Module) -> None:
        """Take an address, then answer."""
        bus = self.bus
        has_address = Signal()
        address = Signal(ADDRESS_BITS - 2, reset_less=True)
        m.d.comb += bus.arready.eq(~has_address)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [has_address.eq(1), address.eq(bus.araddr[2:])]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(has_address & ~bus.rvalid):
            m.d.sync += [has_address.eq(0), bus.rvalid.eq(1), bus.rresp.eq(SLVERR),
                         bus.rdata.eq(0)]
            with m.Switch(address):
                for name, register in REGISTERS.items():
                    if register.access == "wo":
                        continue
                    value = (Const(self.values[name], 32) if name in CONSTANT
                             else getattr(self, name))
                    with m.Case(register.address // 4):
                        m.d.sync += [bus.rresp.eq(OKAY), bus.rdata.eq(value)]
