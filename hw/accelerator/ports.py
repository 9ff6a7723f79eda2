"""Signatures between the engines of the accelerator and its memories."""

from amaranth.hdl import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.sw.accelerator.isa import WORD_BITS, fields_of
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import CONSTANT_BEATS, AcceleratorSpec

__all__ = ["COUNT_BITS", "ConstantsPort", "EngineControl", "InstructionLayout", "ReadPort", "Tap",
           "WritePort"]

COUNT_BITS = 16


class ReadPort(wiring.Signature):
    """A port to read words from a memory, seen from the reader.

    Members
    -------
    en, addr : a word is wanted; both hold still until `ready`.
    ready : the memory takes the address in this cycle.
    valid, data : the word, a fixed number of cycles after its address was taken, in their order;
        the reader must take it.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__({"en": Out(1), "addr": Out(range(words)), "ready": In(1),
                          "valid": In(1), "data": In(width)})


class WritePort(wiring.Signature):
    """A port to write words to a memory, seen from the writer: a word is written where `en` and
    `ready` are high; `en`, `addr` and `data` hold still until then."""

    def __init__(self, width: int, words: int) -> None:
        super().__init__({"en": Out(1), "addr": Out(range(words)), "data": Out(width),
                          "ready": In(1)})


class ConstantsPort(wiring.Signature):
    """A port to write constants of the array's requantizer, seen from the writer; it never waits.

    Members
    -------
    en : one beat of a group is written.
    group, beat : which.
    data : the constants of its channels, 64 bits each: bias below, factor from bit 32 on.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        super().__init__({"en": Out(1), "group": Out(range(spec.constant_groups)),
                          "beat": Out(range(CONSTANT_BEATS)), "data": Out(8 * spec.bus_bytes)})


class InstructionLayout(data.StructLayout):
    """Fields of an engine's instructions."""

    def __init__(self, engine: int) -> None:
        super().__init__({name: unsigned(bits) for name, bits in fields_of(engine)})


class EngineControl(wiring.Signature):
    """What ties an engine to its program and to the other engines, seen from the engine.

    Members
    -------
    words : the engine's program.
    ended : every word of it has been taken.
    counts : instructions that each engine has ended, in the order of the engines.
    done : an instruction has ended: its last result is in memory.
    issued : an instruction begins to work: what it waited for has happened.
    idle : nothing is in flight, though the program may go on.
    empty : neither an instruction nor a part of one waits to begin.
    fault : one of `FAULTS` for one cycle; the top ends the run.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        super().__init__({
            "words": In(stream.Signature(unsigned(WORD_BITS))),
            "ended": In(1),
            "counts": In(data.ArrayLayout(COUNT_BITS, spec.engine_count)),
            "done": Out(1),
            "issued": Out(1),
            "idle": Out(1, init=1),
            "empty": Out(1, init=1),
            "fault": Out(range(len(FAULTS))),
        })


class Tap(wiring.Signature):
    """What an engine writes, for a bench to record.

    Members
    -------
    valid : a word is written.
    residual : to the residual memory; else to the scratchpad, whose word is `data`'s lower half.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        super().__init__({"valid": Out(1), "residual": Out(1), "addr": Out(20),
                          "data": Out(16 * spec.size)})
