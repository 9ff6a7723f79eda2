"""Units behind bytes: the host's own code against the gates, in Amaranth's simulator."""

import collections

import numpy as np
import pytest
from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from vitrtl.hw.stream_shell import StreamShell
from vitrtl.sw.boards.exercise import exercise
from vitrtl.sw.boards.link import Link
from vitrtl.sw.boards.protocol import CREDIT, IDENTIFY, QUEUE_BYTES, identity
from vitrtl.sw.boards.unit_client import UnitClient
from vitrtl.sw.catalog import unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.stimuli import synthetic_cases


class SimulatedPort:
    """A serial port whose other end is simulated while somebody reads from it.

    Parameters
    ----------
    shell : with byte streams `i` and `o`.
    patience : cycles after which a read gives up.
    """

    def __init__(self, shell, patience=4000):
        self.down, self.up = collections.deque(), collections.deque()
        self.broken = False
        self.patience = patience
        self.most_waiting = 0
        self._cycle = 0

        async def bench(ctx):
            ctx.set(shell.o.ready, 1)
            while True:
                self._cycle += 1
                ctx.set(shell.restart, self.broken)
                self.broken = False
                offered = bool(self.down)
                ctx.set(shell.i.valid, offered)
                if offered:
                    ctx.set(shell.i.payload, self.down[0])
                _, _, taken, given, byte = await ctx.tick().sample(
                    shell.i.ready, shell.o.valid, shell.o.payload)
                if offered and taken:
                    self.down.popleft()
                if given:
                    self.up.append(byte)

        self._simulator = Simulator(shell)
        self._simulator.add_clock(1e-6)
        self._simulator.add_process(bench)

    def write(self, data):
        self.down.extend(data)
        self.most_waiting = max(self.most_waiting, len(self.down))

    def read(self, size):
        end = self._cycle + self.patience
        while len(self.up) < size and self._cycle < end:
            self._simulator.advance()
        return bytes(self.up.popleft() for _ in range(min(size, len(self.up))))

    def send_break(self):
        self.broken = True
        for _ in range(20):
            self._simulator.advance()

    def reset_input_buffer(self):
        self.up.clear()


class Two(wiring.Component):
    """Passes two streams of odd widths."""

    def __init__(self):
        super().__init__({
            "a": In(stream.Signature(unsigned(3))), "b": In(stream.Signature(unsigned(17))),
            "x": Out(stream.Signature(unsigned(3))), "y": Out(stream.Signature(unsigned(17))),
        })

    def elaborate(self, platform):
        m = Module()
        wiring.connect(m, wiring.flipped(self.a), wiring.flipped(self.x))
        wiring.connect(m, wiring.flipped(self.b), wiring.flipped(self.y))
        return m


def client(name, **fields):
    entry = unit(name)
    spec = entry.golden.spec(**fields)
    port = SimulatedPort(StreamShell(entry.gates(spec), identity(name, spec)))
    return UnitClient(port, name, spec), port


@pytest.mark.parametrize(("name", "fields"), [
    ("gelu_lut", {}),
    ("softmax_e2", {"longest_row": 16, "lanes": 4}),
    ("matmul", {"rows": 4, "columns": 4, "longest_pass": 16}),
])
def test_a_unit_answers_as_the_golden_model(name, fields):
    board, port = client(name, **fields)
    board.start()
    cases = [case for case in synthetic_cases(unit(name), board.spec) if case.kind != "timing"
             and case.values <= 2000]
    for case in cases[:3]:
        case = case.shortened(120)
        np.testing.assert_array_equal(board.play(case).ravel(), case.expected.ravel())
    assert port.most_waiting <= QUEUE_BYTES
    assert not port.up and not port.down


def test_other_gates_than_the_golden_model_are_found_out():
    entry, spec = unit("softmax_bit_softmax"), unit("softmax_bit_softmax").golden.spec()
    other = entry.gates(entry.golden.spec(rounding="floor"))
    board = UnitClient(SimulatedPort(StreamShell(other, identity(entry.name, spec))), entry.name,
                       spec)
    board.start()
    found = exercise(board, 100)
    assert found.mismatches > 0 and found.values > found.mismatches
    assert ": board " in found.differences[0] and ", golden " in found.differences[0]


def test_streams_are_told_apart():
    port = SimulatedPort(StreamShell(Two(), bytes(8)))
    link = Link(port, [1, 3], [1, 3])
    link.start(bytes(8))
    for i in range(40):
        link.send(1, 0x1F0F0 + i)
        link.send(0, i % 8)
    found = [link.receive() for _ in range(80)]
    assert [beat for tag, beat in found if tag == 0] == [i % 8 for i in range(40)]
    assert [beat for tag, beat in found if tag == 1] == [0x1F0F0 + i for i in range(40)]


def test_a_break_forgets_half_a_packet():
    port = SimulatedPort(StreamShell(Two(), bytes(range(8))))
    link = Link(port, [1, 3], [1, 3])
    port.write(bytes([1, 0xAA]))
    link.start(bytes(range(8)))
    link.send(0, 5)
    assert link.receive() == (0, 5)


def test_the_wrong_unit_and_no_answer_are_told():
    port = SimulatedPort(StreamShell(Two(), bytes(8)))
    with pytest.raises(UserError, match="^the board must hold the unit 0101010101010101, not "
                                        "0000000000000000: `vitrtl build`"):
        Link(port, [1, 3], [1, 3]).start(b"\x01" * 8)
    link = Link(port, [1, 3], [1, 3])
    link.start(bytes(8))
    with pytest.raises(UserError, match="^the board must answer within the port's timeout: "
                                        "0 of 1 bytes have come$"):
        link.receive()


def test_credit_is_given_for_every_64_bytes():
    port = SimulatedPort(StreamShell(Two(), bytes(8)))
    port.write(bytes([0, 1] * 64))
    found = [byte for byte in port.read(10_000) if byte == CREDIT]
    assert len(found) == 2
    assert IDENTIFY not in found
