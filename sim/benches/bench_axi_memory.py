"""Claims of the memory model, which the accelerator's bench stands on."""

import dataclasses
import json
import os
from pathlib import Path

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import FallingEdge, Timer

__all__ = []

FOLDER = Path(json.loads(Path(os.environ["VITRTL_JOB"]).read_text())["folder"])
CONTENTS = (FOLDER / "memory.bin").read_bytes()
BEAT = 8
OKAY, SLVERR, DECERR = 0, 2, 3


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """One beat that came back, and the cycle in which it was taken."""

    cycle: int
    id: int
    data: bytes
    response: int
    last: bool


async def reset(dut: SimHandleBase, **settings: int) -> None:
    """Load the memory and set it up; everything is driven on falling edges."""
    await FallingEdge(dut.clk)
    defaults = {"rst": 1, "latency": 0, "bandwidth": 256, "enter": 0, "leave": 0, "error_size": 0,
                "arvalid": 0, "awvalid": 0, "wvalid": 0, "rready": 0, "bready": 0, "load": 1,
                "arsize": 3, "arburst": 1, "wstrb": 0xFF}
    for name, value in (defaults | settings).items():
        getattr(dut, name).value = value
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.load.value = 0
    dut.rst.value = 0


async def read(dut: SimHandleBase, bursts: list[tuple[int, int, int]], pause: int = 0
               ) -> tuple[list[int], list[Beat]]:
    """Read (id, address, beats) one after the other; return cycles of addresses, and all beats.

    Parameters
    ----------
    pause : cycles that each beat is kept waiting.
    """
    waiting, taken, beats = list(bursts), [], []
    wanted = sum(count for _, _, count in bursts)
    held = 0
    for cycle in range(20_000):
        dut.arvalid.value = bool(waiting)
        if waiting:
            dut.arid.value, dut.araddr.value, dut.arlen.value = (
                waiting[0][0], waiting[0][1], waiting[0][2] - 1)
        ready = held >= pause
        dut.rready.value = ready
        await Timer(1, "step")
        # What is taken at the rising edge that follows.
        if waiting and dut.arready.value:
            waiting.pop(0)
            taken.append(cycle)
        if dut.rvalid.value:
            held = 0 if ready else held + 1
            if ready:
                beats.append(Beat(cycle, int(dut.rid.value),
                                  int(dut.rdata.value).to_bytes(BEAT, "little"),
                                  int(dut.rresp.value), bool(dut.rlast.value)))
        await FallingEdge(dut.clk)
        if len(beats) == wanted:
            dut.rready.value = 0
            return taken, beats
    raise AssertionError(f"only {len(beats)} of {wanted} beats came")


async def write(dut: SimHandleBase, address: int, data: bytes, strobe: int = 0xFF,
                **wrong: int) -> int:
    """Write one burst; return the response.

    Parameters
    ----------
    wrong : signals of the last beat that are not as they should be.
    """
    beats = [data[i:i + BEAT] for i in range(0, len(data), BEAT)]
    dut.awid.value, dut.awaddr.value, dut.awlen.value = 5, address, len(beats) - 1
    dut.awvalid.value, dut.wvalid.value, dut.wstrb.value = 1, 1, strobe
    dut.bready.value = 1
    for _ in range(20_000):
        if beats:
            dut.wdata.value = int.from_bytes(beats[0], "little")
            dut.wlast.value = len(beats) == 1
            if len(beats) == 1:
                for name, value in wrong.items():
                    getattr(dut, name).value = value
        await Timer(1, "step")
        address_taken = bool(dut.awvalid.value and dut.awready.value)
        data_taken = bool(dut.wvalid.value and dut.wready.value)
        answered = bool(dut.bvalid.value)
        response, id_ = int(dut.bresp.value), int(dut.bid.value)
        await FallingEdge(dut.clk)
        if address_taken:
            dut.awvalid.value = 0
        if data_taken:
            beats.pop(0)
            dut.wvalid.value = bool(beats)
        if answered:
            dut.bready.value = 0
            assert id_ == 5
            return response
    raise AssertionError("the write was not answered")


def check_beats(bursts: list[tuple[int, int, int]], beats: list[Beat]) -> None:
    """Assert order, data, IDs and where bursts end."""
    wanted = [(i, CONTENTS[address + BEAT * k:][:BEAT], k == count - 1)
              for i, address, count in bursts for k in range(count)]
    assert [(b.id, b.data, b.last) for b in beats] == wanted


BURSTS = [(1, 0x100, 16), (2, 0x40, 1), (1, 0x1000, 8), (3, 0x2100, 4)]


@cocotb.test
@cocotb.parametrize(latency=(0, 1, 50), bandwidth=(256, 128, 64, 100))
async def reads_come_in_order_and_on_time(dut: SimHandleBase, latency: int, bandwidth: int
                                          ) -> None:
    """Latencies of bursts overlap, and the bus carries as many beats as was set."""
    await reset(dut, latency=latency, bandwidth=bandwidth)
    taken, beats = await read(dut, BURSTS)
    check_beats(BURSTS, beats)
    assert beats[0].cycle == taken[0] + 1 + latency
    gaps = beats[-1].cycle - beats[0].cycle
    ideal = (len(beats) - 1) * 256 / bandwidth
    assert ideal - 1 <= gaps <= ideal + 1, f"{gaps} cycles for {len(beats)} beats"


@cocotb.test
@cocotb.parametrize(seed=(1, 2, 3))
async def pauses_change_nothing_but_time(dut: SimHandleBase, seed: int) -> None:
    """Random pauses on every channel, and a slow reader."""
    await reset(dut, enter=20_000, leave=20_000, seed=seed, latency=7)
    _, beats = await read(dut, BURSTS * 3, pause=seed - 1)
    check_beats(BURSTS * 3, beats)
    data = bytes(range(200, 248))
    assert await write(dut, 0x300, data) == OKAY
    _, beats = await read(dut, [(0, 0x300, len(data) // BEAT)])
    assert b"".join(b.data for b in beats) == data
    assert int(dut.violations.value) == 0


@cocotb.test
async def strobes_and_dump(dut: SimHandleBase) -> None:
    """Only bytes with a strobe are written; a dump is what the memory holds then."""
    await reset(dut)
    assert await write(dut, 0x200, b"\xaa" * 16, strobe=0x0F) == OKAY
    dut.dump_base.value, dut.dump_size.value, dut.dump.value = 0x1F8, 0x20, 1
    await FallingEdge(dut.clk)
    dut.dump.value = 0
    await FallingEdge(dut.clk)
    kept = CONTENTS
    assert (FOLDER / "dump.bin").read_bytes() == (
        kept[0x1F8:0x200] + b"\xaa" * 4 + kept[0x204:0x208] + b"\xaa" * 4 + kept[0x20C:0x218])
    assert int(dut.violations.value) == 0


@cocotb.test
async def errors_are_answered_where_they_are(dut: SimHandleBase) -> None:
    """SLVERR in the range, DECERR behind the end, the contents untouched."""
    await reset(dut, error_base=0x110, error_size=8)
    _, beats = await read(dut, [(1, 0x100, 4), (2, 0x10000, 1)])
    assert [b.response for b in beats] == [OKAY, OKAY, SLVERR, OKAY, DECERR]
    assert await write(dut, 0x108, bytes(16)) == SLVERR
    assert await write(dut, 0x10000, bytes(8)) == DECERR
    assert await write(dut, 0x108, b"\x55" * 8) == OKAY
    _, beats = await read(dut, [(1, 0x108, 2)])
    assert [b.data for b in beats] == [b"\x55" * 8, CONTENTS[0x110:0x118]]
    assert int(dut.violations.value) == 0


@cocotb.test
@cocotb.parametrize(case=("withdrawn", "changed", "boundary", "size", "alignment", "last"))
async def broken_rules_are_counted(dut: SimHandleBase, case: str) -> None:
    """Each rule of the master, broken once."""
    # Pauses keep the address waiting where it is to be changed meanwhile.
    stubborn = case in ("withdrawn", "changed")
    await reset(dut, enter=65535 * stubborn, leave=0)
    if stubborn:
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.arvalid.value, dut.araddr.value = 1, 0x100
        await FallingEdge(dut.clk)
        dut.arvalid.value, dut.araddr.value = case == "changed", 0x108
        await FallingEdge(dut.clk)
        dut.arvalid.value = 0
        expected = 1
    elif case == "last":
        await write(dut, 0x100, bytes(16), wlast=0)
        expected = 6
    else:
        dut.arsize.value = 2 if case == "size" else 3
        address = {"boundary": 0xFF8, "alignment": 0x104}.get(case, 0x100)
        await read(dut, [(0, address, 2)])
        expected = 4 if case == "boundary" else 5
    await FallingEdge(dut.clk)
    assert int(dut.violations.value) >= 1
    assert int(dut.violation.value) == expected
