"""The whole accelerator: engines around memories, between an AXI4 and an AXI4-Lite port."""

from amaranth.hdl import Cat, Elaboratable, Module, ResetInserter, Signal
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
from vitrtl.sw.accelerator.spec import ARRAY, DMA, AcceleratorSpec

__all__ = ["Accelerator", "id_bits"]


RESET_ORDER = ("memories", "array", "dma", "vectors", "programs")
"""Parts of the core as they are reset and let go; what begins a run is the last."""


def id_bits(spec: AcceleratorSpec) -> int:
    """Return the bits of the memory bus's identifiers: programs, then loads, then the header."""
    return (spec.engine_count + 1).bit_length()


class Accelerator(wiring.Component):
    """Runs programs of `vitrtl.sw.accelerator.isa` from memory.

    A reset in mid-run forgets what is outstanding on the bus, which is then the system's to
    clear; the bit `abort` of CONTROL ends a run without that.

    Parameters
    ----------
    spec : of the accelerator.
    taps : whether what the engines write and do can be seen from outside, for a bench.

    Members
    -------
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
        m.submodules.control = control = Control(self.spec)
        wiring.connect(m, wiring.flipped(self.s_axi), control.bus)
        m.d.comb += self.irq.eq(control.irq)

        # All that works for a run, and forgets it at its end.
        m.submodules.core = core = Module()
        self._resets = _reset_chain(m, control.reset)
        for i, (engine, name) in enumerate(zip(self._engines, self._names(), strict=True)):
            core.submodules[name] = self._forgetful(
                {DMA: "dma", ARRAY: "array"}.get(i, "vectors"), engine)
        self._connect_programs(core, control)
        self._connect_memories(core)
        self._connect_control(core, control)
        if self.taps:
            self._connect_taps(m)
        return m

    def _forgetful(self, part: str, component: wiring.Component) -> Elaboratable:
        """Return a component that the reset of its part resets."""
        return ResetInserter(self._resets[part])(component)

    def _names(self) -> list[str]:
        """Return names of the engines, of which several may have the same unit."""
        return [f"engine{i}_{self.spec.engine_name(i)}" for i in range(self.spec.engine_count)]

    def _connect_programs(self, m: Module, control: Control) -> None:
        """Give every engine its words, and everyone who reads a place on the bus."""
        spec = self.spec
        self._arbiter = arbiter = ReadArbiter(spec.bus_bytes, id_bits(spec), spec.engine_count + 2)
        m.submodules.arbiter = self._forgetful("dma", arbiter)
        self._header = header = Header(spec)
        m.submodules.header = self._forgetful("programs", header)
        m.d.comb += header.program.eq(control.program)
        for i, engine in enumerate(self._engines):
            fetch = Fetch(spec.bus_bytes)
            m.submodules[f"fetch{i}"] = self._forgetful("programs", fetch)
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
        for port in (arbiter.axi, self._dma.write):
            for name, member in port.signature.members.items():
                mine, inner = getattr(self.m_axi, name), getattr(port, name)
                m.d.comb += mine.eq(inner) if member.flow == Out else inner.eq(mine)

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
            m.submodules[name] = self._forgetful("memories", memory)
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
            m.d.comb += [
                control.idle[i].eq(engine.control.idle), control.empty[i].eq(engine.control.empty),
                control.issued[i].eq(engine.control.issued),
                control.done[i].eq(engine.control.done),
                control.faults[i].eq(engine.control.fault),
            ]
        # Words that come or go and beats in the array all tell that the run goes on.
        moves = Signal()
        m.d.sync += moves.eq(Cat(
            axi.rvalid & axi.rready, axi.wvalid & axi.wready, axi.bvalid, self._array.beat,
            *(engine.control.issued | engine.control.done for engine in self._engines)).any())
        m.d.comb += [
            control.header_fault.eq(header.fault), control.header_culprit.eq(header.culprit),
            control.read_error.eq(arbiter.error), control.read_id.eq(arbiter.error_id),
            control.quiet.eq(arbiter.quiet & self._dma.quiet),
            arbiter.stop.eq(control.stop), self._dma.stop.eq(control.stop),
            control.beat.eq(self._array.beat), control.progress.eq(moves | self._writes),
        ]

    def _connect_taps(self, m: Module) -> None:
        """Show what the engines write and do."""
        for i, engine in enumerate(self._engines):
            if i != DMA:
                wiring.connect(m, engine.tap, wiring.flipped(getattr(self, f"tap{i}")))
            m.d.comb += [self.event_issued[i].eq(engine.control.issued),
                         self.event_done[i].eq(engine.control.done)]
        m.d.comb += self.event_beat.eq(self._array.beat)


def _reset_chain(m: Module, reset: Signal) -> dict[str, Signal]:
    """Return a reset for each part of the core, a cycle after one another: none is of all.

    `vitrtl.hw.accelerator.control` lets more cycles pass between two runs than there are parts.
    """
    chain: dict[str, Signal] = {}
    for part in RESET_ORDER:
        chain[part] = here = Signal(init=1, name=f"reset_{part}")
        m.d.sync += here.eq(reset)
        reset = here
    return chain
