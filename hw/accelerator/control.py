"""Runs: how they start, what is counted, how they end."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import ADDRESS_BITS, AXI4Lite
from vitrtl.hw.accelerator.ports import COUNT_BITS
from vitrtl.hw.accelerator.register_file import RegisterFile
from vitrtl.sw.accelerator import registers
from vitrtl.sw.accelerator.isa import BASES, PROGRAM_ALIGNMENT
from vitrtl.sw.accelerator.registers import CONTROL_ENGINE, FAULTS, REGISTERS
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["Control"]

REST_CYCLES = 4
"""Cycles in which nothing may be left to do before a run is over, so that what engines tell may be
a cycle or two old; nor is the bus looked at sooner after it was told to stop."""

WORD_CYCLES = 8
"""More cycles than any word is on its way to or from a memory."""

IN_FLIGHT_BITS = 6
"""Of the number of instructions that an engine works on at the same time."""


class Control(wiring.Component):
    """Registers, start, counters, faults and the end of runs.

    A run ends when every engine has taken its program and is idle, or at the first fault. Then the
    bus is brought to rest: nothing more is asked for, what was asked for is taken. After that the
    engines, and all that lies between them and the bus, are in reset until the next run, so that
    every run begins alike.

    Parameters
    ----------
    spec : of the accelerator.
    reset_stages : cycles that `reset` takes to the last part of the core.

    Members
    -------
    bus : registers.
    irq : a run has ended, well or not.
    reset : of everything that works for a run.
    stop : nothing more may begin on the bus.
    quiet : nothing is outstanding on the bus.
    program, image, output : byte addresses, the same throughout a run.
    header_fault, header_culprit : of the program's first words, and whose.
    ended : each engine's program has been taken.
    done : see `EngineControl`, one bit for each engine.
    idle, empty, issued : the same, a cycle late.
    faults : of each engine, a cycle late.
    counts : instructions that each engine has ended.
    read_error, read_id : a read came back with an error, and whose it was.
    progress : something has moved, so that the run is not stuck.
    beat : the array takes activations.
    """

    def __init__(self, spec: AcceleratorSpec, reset_stages: int) -> None:
        self.spec = spec
        self.reset_cycles = reset_stages + WORD_CYCLES
        engines = spec.engine_count
        fault = range(len(FAULTS))
        super().__init__({
            "bus": In(AXI4Lite(registers.ADDRESS_BITS)), "irq": Out(1),
            "reset": Out(1, init=1), "stop": Out(1), "quiet": In(1),
            **{name: Out(ADDRESS_BITS) for name in BASES},
            "header_fault": In(fault), "header_culprit": In(range(CONTROL_ENGINE + 1)),
            "ended": In(engines), "idle": In(engines), "empty": In(engines),
            "issued": In(engines), "done": In(engines),
            "faults": In(data.ArrayLayout(fault, engines)),
            "counts": Out(data.ArrayLayout(COUNT_BITS, engines)),
            "read_error": In(1), "read_id": In(range(engines + 2)),
            "progress": In(1), "beat": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.registers = bank = RegisterFile(self.spec)
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)
        command = {field.name: bank.command[field.low] for field in REGISTERS["control"].fields}
        status = {field.name: Signal(field.bits, name=f"status_{field.name}")
                  for field in REGISTERS["status"].fields}
        for field in REGISTERS["status"].fields:
            m.d.comb += bank.status[field.low:field.low + field.bits].eq(status[field.name])
        m.d.comb += self.irq.eq(status["interrupt"])

        begin, running = Signal(), Signal()
        m.d.comb += begin.eq(command["start"] & ~status["busy"])
        with m.If(command["start"] & status["busy"]):
            m.d.sync += status["ignored"].eq(1)
        with m.If(command["clear"]):
            m.d.sync += status["interrupt"].eq(0)
        stuck = self._count(m, bank, begin, running)

        fault, culprit = Signal(range(len(FAULTS))), Signal(range(CONTROL_ENGINE + 1))
        left = Signal(range(max(REST_CYCLES, self.reset_cycles)), init=REST_CYCLES - 1)
        with m.FSM():
            with m.State("idle"):
                with m.If(begin):
                    m.d.sync += [value.eq(name == "busy") for name, value in status.items()]
                    m.d.sync += [getattr(self, name).eq(getattr(bank, name)) for name in BASES]
                    m.next = "check"
            with m.State("check"):
                m.d.comb += [running.eq(1), culprit.eq(CONTROL_ENGINE)]
                with m.If(self._misaligned()):
                    m.d.comb += fault.eq(FAULTS["misaligned address"])
                    m.next = "drain"
                with m.Else():
                    m.d.sync += [self.reset.eq(0), left.eq(REST_CYCLES - 1)]
                    m.next = "run"
            with m.State("run"):
                m.d.comb += running.eq(1)
                self._find_fault(m, fault, culprit, stuck, command["abort"])
                at_rest = (self.ended & self.idle & self.empty).all()
                m.d.sync += left.eq(Mux(at_rest, left - 1, REST_CYCLES - 1))
                with m.If((at_rest & (left == 0)) | (fault != FAULTS["none"])):
                    m.d.sync += left.eq(REST_CYCLES - 1)
                    m.next = "drain"
            with m.State("drain"):
                m.d.comb += self.stop.eq(1)
                with m.If(left != 0):
                    m.d.sync += left.eq(left - 1)
                with m.Elif(self.quiet):
                    m.d.sync += [self.reset.eq(1), left.eq(self.reset_cycles - 1)]
                    m.next = "reset"
            with m.State("reset"):
                m.d.comb += self.stop.eq(1)
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += [status["busy"].eq(0), status["interrupt"].eq(1),
                                 status["done"].eq(status["fault"] == FAULTS["none"])]
                    m.next = "idle"
        with m.If(fault != FAULTS["none"]):
            m.d.sync += [status["fault"].eq(fault), status["engine"].eq(culprit)]
        return m

    def _misaligned(self) -> Value:
        """Return whether one of the address registers is not a multiple of what it must be."""
        bits = {name: (self.spec.bus_bytes - 1).bit_length() for name in BASES}
        bits["program"] = (PROGRAM_ALIGNMENT - 1).bit_length()
        return Cat(getattr(self, name)[:count] for name, count in bits.items()).any()

    def _find_fault(self, m: Module, fault: Signal, culprit: Signal, stuck: Value,
                    abort: Value) -> None:
        """Drive the fault of this cycle; where there are several, the one nearest to a cause."""
        engines = self.spec.engine_count
        m.d.comb += culprit.eq(CONTROL_ENGINE)
        with m.If(self.read_error):
            # Identifiers: programs of the engines, loads, header.
            owners = Array([*range(engines), 0, CONTROL_ENGINE])
            m.d.comb += [fault.eq(FAULTS["bus error"]), culprit.eq(owners[self.read_id])]
        with m.Elif(self.header_fault != FAULTS["none"]):
            m.d.comb += [fault.eq(self.header_fault), culprit.eq(self.header_culprit)]
        for engine in range(engines):
            with m.Elif(self.faults[engine] != FAULTS["none"]):
                m.d.comb += [fault.eq(self.faults[engine]), culprit.eq(engine)]
        with m.Elif(stuck):
            m.d.comb += fault.eq(FAULTS["timeout"])
        with m.Elif(abort):
            m.d.comb += fault.eq(FAULTS["aborted"])

    def _count(self, m: Module, bank: RegisterFile, begin: Value, running: Value) -> Value:
        """Count what registers tell; return whether nothing has moved for too long."""
        engines = self.spec.engine_count
        cycles, beats, still = (Signal(32, name=name) for name in ("cycles", "beats", "still"))
        busy = [Signal(32, name=f"busy{engine}") for engine in range(engines)]
        in_flight = [Signal(IN_FLIGHT_BITS, name=f"in_flight{engine}")
                     for engine in range(engines)]
        stuck = Signal()
        # `issued` comes a cycle late; this too, so that all cycles of an instruction are counted.
        ended = Signal(engines)
        m.d.sync += ended.eq(self.done)
        with m.If(begin):
            m.d.sync += [value.eq(0)
                         for value in (cycles, beats, still, self.counts, *busy, *in_flight)]
        with m.Elif(running):
            m.d.sync += [cycles.eq(cycles + 1), beats.eq(beats + self.beat),
                         still.eq(Mux(self.progress, 0, still + 1))]
            for engine in range(engines):
                count, flying = self.counts[engine], in_flight[engine]
                m.d.sync += [
                    count.eq(count + self.done[engine]),
                    flying.eq(flying + self.issued[engine] - ended[engine]),
                    busy[engine].eq(busy[engine] + flying.any()),
                ]
        m.d.sync += [
            bank.cycles.eq(cycles), bank.beats.eq(beats),
            bank.engine_done.eq(Array(self.counts)[bank.engine_select]),
            bank.engine_busy.eq(Array(busy)[bank.engine_select]),
            stuck.eq((still == bank.timeout) & (bank.timeout != 0)),
        ]
        return stuck
