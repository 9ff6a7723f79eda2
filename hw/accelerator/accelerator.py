"""The whole accelerator: engines around memories, between an AXI4 and an AXI4-Lite port."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.array_engine import ArrayEngine
from vitrtl.hw.accelerator.axi import AXI4, AXI4Lite
from vitrtl.hw.accelerator.banked_memory import BankedMemory
from vitrtl.hw.accelerator.control import Control
from vitrtl.hw.accelerator.dma_engine import DmaEngine
from vitrtl.hw.accelerator.fetch import Fetch
from vitrtl.hw.accelerator.header import Header
from vitrtl.hw.accelerator.ports import Tap
from vitrtl.hw.accelerator.read_arbiter import ReadArbiter
from vitrtl.hw.accelerator.vector_engine import VectorEngine
from vitrtl.sw.accelerator.registers import ADDRESS_BITS
from vitrtl.sw.accelerator.spec import DMA, AcceleratorSpec

__all__ = ["Accelerator", "id_bits", "reset_stages"]


def id_bits(spec: AcceleratorSpec) -> int:
    """Return the bits of the memory bus's identifiers: programs, then loads, then the header."""
    return (spec.engine_count + 1).bit_length()


def reset_stages(spec: AcceleratorSpec) -> int:
    """Return the parts through which a reset goes one after the other."""
    memories, arbiter, header = 3, 1, 1
    return memories + arbiter + header + 2 * spec.engine_count


class Accelerator(wiring.Component):
    """Runs programs of `vitrtl.sw.accelerator.isa` from memory.

    It has a reset of its own, `rst`, which goes from part to part through registers, so that it is
    nowhere a signal to the whole device; the domain needs none. A reset in mid-run forgets what is
    outstanding on the bus, which is then the system's to clear; the bit `abort` of CONTROL ends a
    run without that.

    Parameters
    ----------
    spec : of the accelerator.
    taps : whether what the engines write and do can be seen from outside, for a bench.

    Members
    -------
    rst : for a cycle or more: all is as in the beginning after `reset_stages(spec)` cycles more.
    m_axi : memory. Reads bear the number of the engine whose program they fetch, after those one
        for loads and one for the program's header; writes bear zero.
    s_axi : registers.
    irq : a run has ended, well or not.
    tap1, ... : what each engine but the first writes.
    event_issued, event_done : one bit for each engine: an instruction begins, or has ended.
    event_beat : the array takes a beat of activations.
    """

    def __init__(self, spec: AcceleratorSpec, taps: bool = False) -> None:
        self.spec, self.taps = spec, taps
        engines = spec.engine_count
        super().__init__({
            "rst": In(1),
            "m_axi": Out(AXI4(spec.bus_bytes, id_bits(spec))),
            "s_axi": In(AXI4Lite(ADDRESS_BITS)),
            "irq": Out(1),
            **({f"tap{engine}": Out(Tap(spec)) for engine in range(1, engines)} if taps else {}),
            **({"event_issued": Out(engines), "event_done": Out(engines), "event_beat": Out(1)}
               if taps else {}),
        })
        self._dma = DmaEngine(spec, id_bits(spec))
        self._array = ArrayEngine(spec)
        self._vectors = [VectorEngine(spec, 2 + i) for i in range(len(spec.engines))]
        self._engines = [self._dma, self._array, *self._vectors]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        control = Control(self.spec, reset_stages(self.spec))
        m.submodules.control = ResetInserter(self.rst)(control)
        wiring.connect(m, wiring.flipped(self.s_axi), control.bus)
        m.d.comb += self.irq.eq(control.irq)

        # All that works for a run, and forgets it at its end.
        m.submodules.core = core = Module()
        self._reset, self._stages = control.reset, 0
        self._connect_memories(core)
        for engine, name in zip(self._engines, self._names(), strict=True):
            self._add(core, name, engine)
        self._connect_programs(core, control)
        self._connect_control(core, control)
        assert self._stages == reset_stages(self.spec)
        if self.taps:
            self._connect_taps(m)
        return m

    def _add(self, m: Module, name: str, component: wiring.Component) -> None:
        """Add a part of the core that is reset, and let go, a cycle after the one before it."""
        here = Signal(init=1, name=f"reset_{name}")
        m.d.sync += here.eq(self._reset)
        m.submodules[name] = ResetInserter(here)(component)
        self._reset, self._stages = here, self._stages + 1

    def _names(self) -> list[str]:
        """Return names of the engines, of which several may have the same unit."""
        return [f"engine{i}_{self.spec.engine_name(i)}" for i in range(self.spec.engine_count)]

    def _connect_programs(self, m: Module, control: Control) -> None:
        """Give every engine its words, and everyone who reads a place on the bus."""
        spec = self.spec
        self._arbiter = arbiter = ReadArbiter(spec.bus_bytes, id_bits(spec), spec.engine_count + 2)
        self._add(m, "arbiter", arbiter)
        self._header = header = Header(spec)
        m.d.comb += header.program.eq(control.program)
        for i, engine in enumerate(self._engines):
            fetch = Fetch(spec.bus_bytes)
            self._add(m, f"fetch{i}", fetch)
            m.d.comb += [
                fetch.start.eq(header.start[i]), fetch.addr.eq(header.addr),
                fetch.count.eq(header.count),
                engine.control.ended.eq(fetch.ended), control.ended[i].eq(fetch.ended),
                engine.control.counts.eq(control.counts),
            ]
            wiring.connect(m, fetch.words, engine.control.words)
            wiring.connect(m, fetch.read, arbiter.clients[i])
        wiring.connect(m, self._dma.read, arbiter.clients[spec.engine_count])
        wiring.connect(m, header.read, arbiter.clients[spec.engine_count + 1])
        # It begins the run as soon as it is let go: the last.
        self._add(m, "header", header)
        for port in (arbiter.axi, self._dma.write):
            for name, member in port.signature.members.items():
                mine, inner = getattr(self.m_axi, name), getattr(port, name)
                # From the reset on nothing is asked for, though it comes later to those who ask.
                outgoing = inner & ~control.reset if name.endswith("valid") else inner
                m.d.comb += mine.eq(outgoing) if member.flow == Out else inner.eq(mine)

    def _connect_memories(self, m: Module) -> None:
        """Give every engine its ports of the memories, the most urgent first."""
        spec, dma, array = self.spec, self._dma, self._array
        from_residual = [engine.reads_residual for engine in spec.engines]
        of_scratch = [e.r for e, wide in zip(self._vectors, from_residual, strict=True)
                      if not wide]
        of_residual = [e.r for e, wide in zip(self._vectors, from_residual, strict=True) if wide]
        memories = {
            "scratchpad": (8, spec.banks, spec.bank_words,
                           [*of_scratch, array.keys, array.activations, dma.scratch_r],
                           [*(e.w for e in self._vectors), array.w, dma.scratch_w]),
            "residual": (16, 1, spec.residual_words,
                         [*of_residual, array.residual_r, dma.residual_r],
                         [array.residual_w, dma.residual_w]),
            "weights": (8, 1, spec.weight_words, [array.weights], [dma.weights]),
        }
        writes = []
        for name, (bits, banks, words, readers, writers) in memories.items():
            memory = BankedMemory(bits * spec.size, banks, words, len(readers), len(writers))
            self._add(m, name, memory)
            for ports, places in ((readers, memory.r), (writers, memory.w)):
                for port, place in zip(ports, places, strict=True):
                    wiring.connect(m, port, place)
            writes += [port.en & port.ready for port in writers]
        wiring.connect(m, dma.constants, array.constants)
        self._writes = Signal()
        m.d.sync += self._writes.eq(Cat(writes).any())

    def _connect_control(self, m: Module, control: Control) -> None:
        """Tell the control what goes on."""
        arbiter, header, axi = self._arbiter, self._header, self.m_axi
        for name in ("program", "image", "output"):
            m.d.comb += getattr(self._dma, name).eq(getattr(control, name))
        for i, engine in enumerate(self._engines):
            m.d.comb += control.done[i].eq(engine.control.done)
            m.d.sync += [
                control.idle[i].eq(engine.control.idle), control.empty[i].eq(engine.control.empty),
                control.faults[i].eq(engine.control.fault),
                control.issued[i].eq(engine.control.issued),
            ]
        # What goes between the control and far away parts passes a register.
        beat, stop = Signal(), Signal()
        m.d.sync += [beat.eq(self._array.beat), stop.eq(control.stop)]
        # Words that come or go and beats in the array all tell that the run goes on.
        moves = Signal()
        m.d.sync += moves.eq(Cat(axi.rvalid & axi.rready, axi.wvalid & axi.wready, axi.bvalid,
                                 beat, control.issued, control.done).any())
        m.d.comb += [
            control.header_fault.eq(header.fault), control.header_culprit.eq(header.culprit),
            control.read_error.eq(arbiter.error), control.read_id.eq(arbiter.error_id),
            control.quiet.eq(arbiter.quiet & self._dma.quiet),
            arbiter.stop.eq(stop), self._dma.stop.eq(stop),
            control.beat.eq(beat), control.progress.eq(moves | self._writes),
        ]

    def _connect_taps(self, m: Module) -> None:
        """Show what the engines write and do."""
        for i, engine in enumerate(self._engines):
            if i != DMA:
                wiring.connect(m, engine.tap, wiring.flipped(getattr(self, f"tap{i}")))
            m.d.comb += [self.event_issued[i].eq(engine.control.issued),
                         self.event_done[i].eq(engine.control.done)]
        m.d.comb += self.event_beat.eq(self._array.beat)
