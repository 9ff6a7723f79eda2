"""A host's commands, `vitrtl.sw.accelerator.host_protocol`, to memory and registers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import AXI4Lite
from vitrtl.hw.accelerator.ports import ReadPort, WritePort
from vitrtl.sw.accelerator.host_protocol import COMMAND
from vitrtl.sw.accelerator.registers import ADDRESS_BITS

__all__ = ["CommandLayout", "HostBridge"]

REGISTER_BYTES = 4


class CommandLayout(data.StructLayout):
    """A command's beat."""

    def __init__(self) -> None:
        super().__init__(dict(COMMAND))


class HostBridge(wiring.Component):
    """Reads and writes what commands name, a word at a time.

    Parameters
    ----------
    bus_bytes : of a word.
    words : of the memory.

    Members
    -------
    command, data : from the host: what to do, and words to be written.
    answer : words that were read, and a last one for every command.
    r, w : the memory.
    registers : the accelerator's.

    Throughput
    ----------
    A word in ten cycles or fewer: much faster than a serial line.
    """

    def __init__(self, bus_bytes: int, words: int) -> None:
        self.bus_bytes, self.words = bus_bytes, words
        width = 8 * bus_bytes
        super().__init__({
            "command": In(stream.Signature(CommandLayout())),
            "data": In(stream.Signature(width)),
            "answer": Out(stream.Signature(width)),
            "r": Out(ReadPort(width, words)),
            "w": Out(WritePort(width, words)),
            "registers": Out(AXI4Lite(ADDRESS_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = 8 * self.bus_bytes
        byte_bits = (self.bus_bytes - 1).bit_length()
        command = Signal(CommandLayout(), reset_less=True)
        word = Signal(width, reset_less=True)
        begins, error, beyond = Signal(), Signal(), Signal()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=width).create()

        place = command.address[byte_bits:]
        m.d.comb += [
            beyond.eq(~command.registers & (place >= self.words)),
            self.r.addr.eq(place), self.w.addr.eq(place), self.w.data.eq(word),
            crc.start.eq(begins), crc.data.eq(word), self.answer.payload.eq(word),
        ]
        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += [begins.eq(1), command.eq(self.command.payload), error.eq(0),
                             word.eq(self.command.payload.as_value())]
                with m.If(self.command.valid):
                    m.next = "SUM"
            with m.State("SUM"):
                # Of the command, or of the word that has just been done.
                m.d.comb += crc.valid.eq(1)
                m.d.sync += begins.eq(0)
                with m.If(command.words == 0):
                    m.next = "END"
                with m.Elif(command.write):
                    m.next = "TAKE"
                with m.Elif(command.registers):
                    m.next = "READ REGISTER"
                with m.Else():
                    m.next = "READ"
            with m.State("TAKE"):
                m.d.comb += self.data.ready.eq(1)
                m.d.sync += word.eq(self.data.payload)
                with m.If(self.data.valid):
                    m.next = "WRITE"
                    with m.If(command.registers):
                        m.next = "WRITE REGISTER"
            with m.State("WRITE"):
                m.d.comb += self.w.en.eq(~beyond)
                with m.If(self.w.ready | beyond):
                    m.next = "DONE"
            with m.State("READ"):
                m.d.comb += self.r.en.eq(1)
                with m.If(self.r.ready):
                    m.next = "WORD"
            with m.State("WORD"):
                m.d.sync += word.eq(self.r.data)
                with m.If(self.r.valid):
                    m.next = "DONE"
            self._reach_registers(m, command, word, error)
            with m.State("DONE"):
                stride = Mux(command.registers, REGISTER_BYTES, self.bus_bytes)
                m.d.sync += [
                    error.eq(error | beyond), command.words.eq(command.words - 1),
                    command.address.eq(command.address + stride),
                ]
                m.next = "SUM"
                with m.If(~command.write & ~command.silent):
                    m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "SUM"
            with m.State("END"):
                m.d.sync += word.eq(Cat(crc.crc, error))
                m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "COMMAND"
        return m

    def _reach_registers(self, m: Module, command: data.View, word: Signal,
                         error: Signal) -> None:
        """Add the states that read or write a register."""
        bus = self.registers
        has_address, has_data = Signal(), Signal()
        m.d.comb += [
            bus.araddr.eq(command.address), bus.awaddr.eq(command.address),
            bus.wdata.eq(word), bus.wstrb.eq((1 << len(bus.wstrb)) - 1),
        ]
        with m.State("READ REGISTER"):
            m.d.comb += bus.arvalid.eq(1)
            with m.If(bus.arready):
                m.next = "REGISTER"
        with m.State("REGISTER"):
            m.d.comb += bus.rready.eq(1)
            with m.If(bus.rvalid):
                m.d.sync += [word.eq(bus.rdata), error.eq(error | (bus.rresp != 0))]
                m.next = "DONE"
        with m.State("WRITE REGISTER"):
            m.d.comb += [bus.awvalid.eq(~has_address), bus.wvalid.eq(~has_data)]
            m.d.sync += [has_address.eq(has_address | bus.awready),
                         has_data.eq(has_data | bus.wready)]
            with m.If((has_address | bus.awready) & (has_data | bus.wready)):
                m.next = "WRITTEN"
        with m.State("WRITTEN"):
            m.d.comb += bus.bready.eq(1)
            m.d.sync += [has_address.eq(0), has_data.eq(0)]
            with m.If(bus.bvalid):
                m.d.sync += error.eq(error | (bus.bresp != 0))
                m.next = "DONE"
