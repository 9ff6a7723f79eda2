"""Moves beats between the memory bus and the accelerator's own memories."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import ADDRESS_BITS, INCR, AXI4Write, ReadClient, size_code
from vitrtl.hw.accelerator.burst_splitter import BurstSplitter
from vitrtl.hw.accelerator.issue import Issue
from vitrtl.hw.accelerator.loops import LoopJob, WordReader
from vitrtl.hw.accelerator.ports import ConstantsPort, EngineControl, ReadPort, WritePort
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.sw.accelerator.isa import BASES, MEMORIES, OPCODES
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import CONSTANT_BEATS, DMA, AcceleratorSpec

__all__ = ["DmaEngine", "Loader", "Storer", "Transfer"]

BEAT_BITS = 20
LONGEST_BURST = 32
BEATS_IN_FLIGHT = 256
"""Most beats that were asked for and have not come, so that programs wait no longer behind them."""

QUEUE = 8
"""Loads whose beats were asked for ahead, and stores that wait for their turn."""


class Transfer(data.StructLayout):
    """A checked load or store.

    Members
    -------
    memory, address, beats, flip : as in the instruction.
    place : byte address on the bus.
    """

    def __init__(self) -> None:
        super().__init__({"memory": 2, "address": 20, "beats": BEAT_BITS, "flip": 1,
                          "place": ADDRESS_BITS})


class Loader(wiring.Component):
    """Asks for the beats of loads ahead, and puts them where they belong.

    Parameters
    ----------
    spec : of the accelerator.

    Members
    -------
    i : loads.
    read : the memory bus.
    weights, scratch, residual, constants : where beats go.
    done : the last word of the oldest load was written.

    Throughput
    ----------
    A beat per cycle, but for one cycle at the end of each load.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        self.spec = spec
        bits = 8 * spec.bus_bytes
        super().__init__({
            "i": In(stream.Signature(Transfer())),
            "read": Out(ReadClient(spec.bus_bytes)),
            "weights": Out(WritePort(bits, spec.weight_words)),
            "scratch": Out(WritePort(bits, spec.scratch_words)),
            "residual": Out(WritePort(2 * bits, spec.residual_words)),
            "constants": Out(ConstantsPort(spec)),
            "done": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._ask(m)
        self._put(m)
        return m

    def _ask(self, m: Module) -> None:
        """Queue what is to be done with the beats, and ask for them."""
        splitter = BurstSplitter(self.spec.bus_bytes, BEAT_BITS, LONGEST_BURST)
        m.submodules.splitter = splitter
        m.submodules.queue = self._queue = queue = SyncFIFO(width=Transfer().size, depth=QUEUE)
        both = splitter.i.ready & queue.w_rdy
        m.d.comb += [
            self.i.ready.eq(both),
            splitter.i.valid.eq(self.i.valid & both), queue.w_en.eq(self.i.valid & both),
            splitter.i.payload.addr.eq(self.i.payload.place),
            splitter.i.payload.beats.eq(self.i.payload.beats),
            queue.w_data.eq(self.i.payload),
        ]
        flying, came = Signal(range(BEATS_IN_FLIGHT + 1)), Signal()
        has_room = flying <= BEATS_IN_FLIGHT - LONGEST_BURST
        ask = self.read.ask
        m.d.comb += [
            ask.valid.eq(splitter.o.valid & has_room), ask.payload.eq(splitter.o.payload),
            splitter.o.ready.eq(ask.ready & has_room),
        ]
        m.d.sync += [
            flying.eq(flying + Mux(ask.valid & ask.ready, ask.payload.length + 1, Const(0)) - came),
            came.eq(self.read.r.valid & self.read.r.ready),
        ]

    def _put(self, m: Module) -> None:
        """Write the beats of the oldest load."""
        queue = self._queue
        # Whether a beat is taken depends on the memory that it goes to.
        m.submodules.beats = beats = SkidBuffer(self.read.r.payload.shape())
        wiring.connect(m, wiring.flipped(self.read.r), beats.i)
        beat = beats.o
        now = Signal(Transfer(), reset_less=True)
        active, half = Signal(), Signal()
        low = Signal.like(beat.payload, reset_less=True)

        # One write at a time, in a register, and one more that waits for its memory: whether that
        # is ready depends on everyone who writes.
        group_bits = (CONSTANT_BEATS - 1).bit_length()
        m.submodules.output = output = SkidBuffer(data.StructLayout({
            "target": len(MEMORIES), "addr": 20, "word": 2 * len(low), "constant": group_bits,
            "last": 1}))
        target = Signal(len(MEMORIES))
        last = Signal()
        addr = Signal(20, reset_less=True)
        word = Signal(2 * len(low), reset_less=True)
        constant = Signal(group_bits, reset_less=True)
        written = output.i.ready
        m.d.comb += [
            output.i.valid.eq(target.any()), output.i.payload.target.eq(target),
            output.i.payload.addr.eq(addr), output.i.payload.word.eq(word),
            output.i.payload.constant.eq(constant), output.i.payload.last.eq(last),
        ]
        with m.If(written):
            m.d.sync += target.eq(0)

        ports = {"weights": self.weights, "scratch": self.scratch, "residual": self.residual}
        ready = Signal(len(MEMORIES), init=-1)
        write = output.o.payload
        targets = write.target & output.o.valid.replicate(len(MEMORIES))
        for name, port in ports.items():
            m.d.comb += [port.en.eq(targets[MEMORIES[name]]), port.addr.eq(write.addr),
                         port.data.eq(write.word[:len(port.data)]),
                         ready[MEMORIES[name]].eq(port.ready)]
        m.d.comb += [
            ready[MEMORIES["constants"]].eq(1),
            self.constants.en.eq(targets[MEMORIES["constants"]]),
            self.constants.group.eq(write.addr), self.constants.beat.eq(write.constant),
            self.constants.data.eq(write.word[:len(low)]),
            output.o.ready.eq((write.target & ready).any()),
            self.done.eq(output.o.valid & output.o.ready & write.last),
        ]
        ending = Signal()
        with m.If(active):
            m.d.comb += beat.ready.eq((target == 0) | written)
            with m.If(beat.valid & beat.ready):
                flipped = beat.payload ^ Cat(Const(0, 7), now.flip).replicate(self.spec.bus_bytes)
                is_residual = now.memory == MEMORIES["residual"]
                whole = ~is_residual | half
                m.d.comb += ending.eq(now.beats == 1)
                m.d.sync += [
                    low.eq(flipped), half.eq(is_residual & ~half),
                    word.eq(Mux(is_residual, Cat(low, flipped), flipped)),
                    last.eq(ending), now.beats.eq(now.beats - 1), addr.eq(now.address),
                    constant.eq(constant + 1),
                ]
                with m.If(whole):
                    m.d.sync += target.eq(1 << now.memory)
                with m.If(Mux(now.memory == MEMORIES["constants"],
                              constant == CONSTANT_BEATS - 2, whole)):
                    m.d.sync += now.address.eq(now.address + 1)
        with m.If(~active | ending):
            m.d.sync += active.eq(0)
        with m.If(~active):
            m.d.comb += queue.r_en.eq(1)
            m.d.sync += [now.eq(queue.r_data), active.eq(queue.r_rdy), half.eq(0),
                         constant.eq(-1)]


class Storer(wiring.Component):
    """Takes words from the scratchpad or the residual memory to the bus.

    Parameters
    ----------
    spec : of the accelerator.
    id_bits : of the bus's identifiers, which are zero.

    Members
    -------
    i : stores.
    axi : the memory bus.
    scratch, residual : where words come from.
    stop : no burst begins any more.
    quiet : every burst that began has been answered.
    done : the oldest store was answered.
    error : an answer was an error.
    """

    def __init__(self, spec: AcceleratorSpec, id_bits: int) -> None:
        self.spec, self.id_bits = spec, id_bits
        super().__init__({
            "i": In(stream.Signature(Transfer())),
            "axi": Out(AXI4Write(spec.bus_bytes, id_bits)),
            "scratch": Out(ReadPort(8 * spec.bus_bytes, spec.scratch_words)),
            "residual": Out(ReadPort(16 * spec.bus_bytes, spec.residual_words)),
            "stop": In(1), "quiet": Out(1, init=1), "done": Out(1), "error": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi, bus_bytes = self.axi, self.spec.bus_bytes
        m.submodules.splitter = splitter = BurstSplitter(bus_bytes, BEAT_BITS, LONGEST_BURST)
        m.submodules.out = out = SkidBuffer(data.StructLayout({"data": 8 * bus_bytes, "last": 1}))
        m.d.comb += [
            axi.awsize.eq(size_code(bus_bytes)), axi.awburst.eq(INCR), axi.wstrb.eq(-1),
            axi.bready.eq(1),
            axi.wvalid.eq(out.o.valid), axi.wdata.eq(out.o.payload.data),
            axi.wlast.eq(out.o.payload.last), out.o.ready.eq(axi.wready),
        ]

        is_residual = Signal()
        words = Signal(BEAT_BITS)
        address = Signal(20, reset_less=True)
        reader = self._reader(m, is_residual)
        m.submodules.jobs = jobs = SkidBuffer(LoopJob())
        wiring.connect(m, jobs.o, reader.job)
        m.d.comb += [
            jobs.i.valid.eq(words != 0),
            jobs.i.payload.base.eq(address),
            *(jobs.i.payload[f"count{i}"].eq(1) for i in range(3)),
        ]
        with m.If(jobs.i.valid & jobs.i.ready):
            m.d.sync += [words.eq(words - 1), address.eq(address + 1)]

        # Beats of the burst that are not on their way yet.
        left = Signal(range(LONGEST_BURST + 1))
        half, sent = Signal(), Signal()
        word = reader.o.payload.data
        m.d.comb += [
            out.i.valid.eq(reader.o.valid & (left != 0)),
            out.i.payload.data.eq(Mux(half, word[8 * bus_bytes:], word[:8 * bus_bytes])),
            out.i.payload.last.eq(left == 1),
            sent.eq(out.i.valid & out.i.ready),
            reader.o.ready.eq(sent & (half | ~is_residual)),
        ]
        with m.If(sent):
            m.d.sync += [left.eq(left - 1), half.eq(is_residual & ~half)]
        with m.If(axi.awready):
            m.d.sync += axi.awvalid.eq(0)

        begins, answered = Signal(), Signal()
        unanswered = Signal(BEAT_BITS)
        m.d.comb += answered.eq(axi.bvalid & axi.bready)
        m.d.sync += [unanswered.eq(unanswered + begins - answered),
                     self.error.eq(answered & (axi.bresp != 0))]
        m.d.comb += self.quiet.eq(unanswered == 0)

        with m.FSM():
            with m.State("idle"):
                m.d.comb += [splitter.i.payload.addr.eq(self.i.payload.place),
                             splitter.i.payload.beats.eq(self.i.payload.beats),
                             splitter.i.valid.eq(self.i.valid), self.i.ready.eq(1)]
                residual = self.i.payload.memory == MEMORIES["residual"]
                with m.If(self.i.valid):
                    m.d.sync += [
                        is_residual.eq(residual), address.eq(self.i.payload.address),
                        words.eq(self.i.payload.beats >> residual),
                    ]
                    m.next = "work"
            with m.State("work"):
                # A burst's address and its beats go out together, the next burst's after both.
                over = (left == 0) & ~axi.awvalid
                with m.If(over & splitter.o.valid & ~self.stop):
                    m.d.comb += [splitter.o.ready.eq(1), begins.eq(1)]
                    m.d.sync += [
                        axi.awvalid.eq(1), axi.awaddr.eq(splitter.o.payload.addr),
                        axi.awlen.eq(splitter.o.payload.length),
                        left.eq(splitter.o.payload.length + 1),
                    ]
                with m.If(over & ~splitter.busy & (unanswered == 0)):
                    m.d.comb += self.done.eq(1)
                    m.next = "idle"
        return m

    def _reader(self, m: Module, is_residual: Signal) -> WordReader:
        """Return a reader of whichever memory the store names."""
        spec = self.spec
        words = max(spec.scratch_words, spec.residual_words)
        m.submodules.reader = reader = WordReader(16 * spec.bus_bytes, words)
        port = reader.port
        m.d.comb += [
            self.scratch.en.eq(port.en & ~is_residual), self.scratch.addr.eq(port.addr),
            self.residual.en.eq(port.en & is_residual), self.residual.addr.eq(port.addr),
            port.ready.eq(Mux(is_residual, self.residual.ready, self.scratch.ready)),
            port.valid.eq(Mux(is_residual, self.residual.valid, self.scratch.valid)),
            port.data.eq(Mux(is_residual, self.residual.data, self.scratch.data)),
        ]
        return reader


class DmaEngine(wiring.Component):
    """Loads and stores, which go on side by side and end in their order.

    A load's beats are asked for while those of earlier ones are still on their way, so that the
    latency of the memory is paid once and not by each.

    Parameters
    ----------
    spec : of the accelerator.
    id_bits : of the bus's identifiers.

    Members
    -------
    control : program and counts.
    program, image, output : byte addresses that offsets count from.
    read, write : the memory bus.
    weights, scratch_w, residual_w, constants : where loads go.
    scratch_r, residual_r : where stores come from.
    stop : nothing more is begun on the bus.
    quiet : every write that began has been answered.
    """

    def __init__(self, spec: AcceleratorSpec, id_bits: int) -> None:
        self.spec, self.id_bits = spec, id_bits
        bits = 8 * spec.bus_bytes
        super().__init__({
            "control": Out(EngineControl(spec)),
            **{name: In(ADDRESS_BITS) for name in BASES},
            "read": Out(ReadClient(spec.bus_bytes)),
            "write": Out(AXI4Write(spec.bus_bytes, id_bits)),
            "weights": Out(WritePort(bits, spec.weight_words)),
            "scratch_w": Out(WritePort(bits, spec.scratch_words)),
            "residual_w": Out(WritePort(2 * bits, spec.residual_words)),
            "constants": Out(ConstantsPort(spec)),
            "scratch_r": Out(ReadPort(bits, spec.scratch_words)),
            "residual_r": Out(ReadPort(2 * bits, spec.residual_words)),
            "stop": In(1), "quiet": Out(1, init=1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        control = self.control
        m.submodules.issue = issue = Issue(self.spec, DMA, ["load", "store"])
        m.submodules.loader = loader = Loader(self.spec)
        m.submodules.storer = storer = Storer(self.spec, self.id_bits)
        wiring.connect(m, wiring.flipped(control.words), issue.words)
        for mine, parts in ((loader, ("read", "weights", "constants")), (storer, ())):
            for name in parts:
                wiring.connect(m, getattr(mine, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, loader.scratch, wiring.flipped(self.scratch_w))
        wiring.connect(m, loader.residual, wiring.flipped(self.residual_w))
        wiring.connect(m, storer.scratch, wiring.flipped(self.scratch_r))
        wiring.connect(m, storer.residual, wiring.flipped(self.residual_r))
        wiring.connect(m, storer.axi, wiring.flipped(self.write))
        m.d.comb += [
            issue.counts.eq(control.counts), issue.ended.eq(control.ended),
            control.empty.eq(issue.empty),
            storer.stop.eq(self.stop), self.quiet.eq(storer.quiet),
        ]

        # Which of the two is older; and how many of each have ended that may not be told yet.
        m.submodules.order = order = SyncFIFO(width=1, depth=2 * QUEUE)
        ended = {loader: Signal(range(2 * QUEUE + 1)), storer: Signal(range(2 * QUEUE + 1))}
        tell = Signal()
        for part, is_store in ((loader, 0), (storer, 1)):
            told, done = tell & (order.r_data == is_store), Signal()
            m.d.sync += [done.eq(part.done), ended[part].eq(ended[part] + done - told)]
        m.d.comb += [
            tell.eq(order.r_rdy & Mux(order.r_data, ended[storer] != 0, ended[loader] != 0)),
            order.r_en.eq(tell), control.done.eq(tell),
        ]

        m.submodules.stores = stores = SyncFIFO(width=Transfer().size, depth=QUEUE)
        m.d.comb += [
            storer.i.valid.eq(stores.r_rdy), stores.r_en.eq(storer.i.ready),
            storer.i.payload.eq(data.View(Transfer(), stores.r_data)),
        ]

        now = Signal(Transfer(), reset_less=True)
        is_store, bad = Signal(), Signal()
        bases = Array([self.program, self.image, self.output, Const(0, ADDRESS_BITS)])
        m.d.comb += [loader.i.payload.eq(now), stores.w_data.eq(now)]
        with m.FSM() as steps:
            m.d.comb += control.idle.eq(steps.ongoing("take") & ~order.r_rdy)
            with m.State("take"):
                m.d.comb += [issue.o.ready.eq(1), control.issued.eq(issue.o.valid)]
                word = issue.o.payload
                with m.If(issue.o.valid):
                    m.d.sync += [
                        is_store.eq(word.opcode == OPCODES["store"]),
                        now.place.eq(bases[word.base] + word.offset),
                        bad.eq((word.base == len(BASES)) | (word.beats == 0)),
                        *(now[name].eq(word[name])
                          for name in ("memory", "address", "beats", "flip")),
                    ]
                    m.next = "check"
            with m.State("check"):
                byte_bits = (self.spec.bus_bytes - 1).bit_length()
                constants = now.memory == MEMORIES["constants"]
                half = (now.memory == MEMORIES["residual"]) & now.beats[0]
                partial = constants & now.beats[:(CONSTANT_BEATS - 1).bit_length()].any()
                kept = constants | (now.memory == MEMORIES["weights"])
                with m.If(bad | half | partial | (is_store & kept)):
                    m.d.comb += control.fault.eq(FAULTS["bad program"])
                    m.next = "fault"
                with m.Elif(now.place[:byte_bits].any()):
                    m.d.comb += control.fault.eq(FAULTS["misaligned address"])
                    m.next = "fault"
                with m.Elif(order.w_rdy):
                    m.next = "begin"
            with m.State("begin"):
                begun = Mux(is_store, stores.w_rdy, loader.i.ready)
                m.d.comb += [loader.i.valid.eq(~is_store), stores.w_en.eq(is_store),
                             order.w_data.eq(is_store), order.w_en.eq(begun)]
                with m.If(begun):
                    m.next = "take"
            with m.State("fault"):
                pass
        with m.If(storer.error):
            m.d.comb += control.fault.eq(FAULTS["bus error"])
        with m.Elif(issue.bad):
            m.d.comb += control.fault.eq(FAULTS["bad program"])
        return m

