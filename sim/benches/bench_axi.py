"""What an IP core promises on its AXI ports: values, rows, registers, latency, under any pauses."""


import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import (
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from vitrtl.sim.benches.axi_core import PAUSES, AxiCore
from vitrtl.sim.benches.harness import current_job
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.matmul import derive, tile, untile
from vitrtl.sw.golden.unit import config_words
from vitrtl.sw.vectors import Case, MatMulCase

JOB = current_job()
SPEC = JOB.vectors.spec
CASES = JOB.vectors.cases
IS_MATMUL = isinstance(CASES[0], MatMulCase)

LIMIT = {"timeout_time": 400, "timeout_unit": "us"}
"""Time after which a core that answers no more fails its test: 200,000 cycles."""


class Core(AxiCore):
    """The core's drivers; parameters as in `AxiCore`."""

    def __init__(self, dut: SimHandleBase, pauses: str) -> None:
        super().__init__(dut, pauses, JOB.seed)
        names = ("s_axis_w", "s_axis_a") if IS_MATMUL else ("s_axis",)
        self.sources = [AxiStreamSource(AxiStreamBus.from_prefix(dut, name), **self.wiring)
                        for name in names]
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), **self.wiring)
        self.pause((*self.sources, self.sink))
        self.pause_memory_mapped(self.registers)

    async def configure(self, constants: object) -> None:
        """Write a unit's constants."""
        for address, word in config_words(SPEC, constants):
            answer = await self.registers.write(4 * address, word.to_bytes(4, "little"))
            assert answer.resp == AxiResp.OKAY

    async def play(self, case: Case) -> np.ndarray:
        """Return the elements that come back for a case, and check how rows are marked."""
        await self.configure(case.constants)
        source, = self.sources
        for row in np.split(case.x, np.cumsum(case.lengths)[:-1]):
            source.send_nowait(AxiStreamFrame(_bytes(row, SPEC.in_format)))
        rows = []
        for length in case.lengths:
            row = _elements(bytes((await self.sink.recv()).tdata), SPEC.out_format)
            assert row.size == length, f"a row of {length} elements came back with {row.size}"
            rows.append(row)
        return np.concatenate(rows)

    async def multiply(self, case: MatMulCase) -> np.ndarray:
        """Return the product that comes back for a case."""
        constants, _ = derive(SPEC, case.a.shape[1], case.transposed)
        await self.configure(constants)
        weights, activations = self.sources
        tiles = tile(case.a, case.b, SPEC, case.transposed)
        for one, rows in zip(tiles.weights, tiles.passes, strict=True):
            weights.send_nowait(AxiStreamFrame(_bytes(one.ravel(), SPEC.weight_format)))
            activations.send_nowait(AxiStreamFrame(_bytes(rows.ravel(), SPEC.in_format)))
        m, n = case.expected.shape
        beats = m * -(-n // SPEC.columns)
        found: list[np.ndarray] = []
        while sum(part.size for part in found) < beats * SPEC.columns:
            found.append(_elements(bytes((await self.sink.recv()).tdata), SPEC.out_format))
        return untile(np.concatenate(found).reshape(-1, SPEC.columns), m, n, SPEC)


@cocotb.test(**LIMIT)
@cocotb.parametrize(pauses=tuple(PAUSES))
async def every_value_matches_golden(dut: SimHandleBase, pauses: str) -> None:
    """Case by case, each with its own constants, and nothing left over."""
    core = Core(dut, pauses)
    await core.reset()
    for case in CASES:
        found = await (core.multiply(case) if IS_MATMUL else core.play(case))
        wrong = np.flatnonzero(found.ravel() != case.expected.ravel())
        assert not wrong.size, (f"{wrong.size} of {case.values} values differ in {case.kind} case "
                                f"'{case.name}', the first at {case.locate(int(wrong[0]))}")
    await ClockCycles(dut.aclk, 500)
    assert core.sink.empty(), "beats are left over"


@cocotb.test(**LIMIT)
async def the_core_knows_what_it_is(dut: SimHandleBase) -> None:
    """The identity reads at the first two words, and nothing else does."""
    core = Core(dut, "random")
    await core.reset()
    answer = await core.registers.read(0, 8)
    assert bytes(answer.data) == identity(JOB.vectors.unit, SPEC)
    if len(dut.s_axi_araddr) > 3:
        answer = await core.registers.read(8, 4)
        assert answer.resp == AxiResp.SLVERR


@cocotb.test(**LIMIT)
async def half_a_word_is_refused_and_changes_nothing(dut: SimHandleBase) -> None:
    """A write of fewer than four bytes, between the constants and the row."""
    core = Core(dut, "none")
    await core.reset()
    case = CASES[-1]
    if IS_MATMUL:
        constants, _ = derive(SPEC, case.a.shape[1], case.transposed)
        await core.configure(constants)
    else:
        await core.configure(case.constants)
    address, word = config_words(SPEC, constants if IS_MATMUL else case.constants)[0]
    answer = await core.registers.write(4 * address, (word ^ 1).to_bytes(4, "little")[:2])
    assert answer.resp == AxiResp.SLVERR
    core.configure = _nothing
    found = await (core.multiply(case) if IS_MATMUL else core.play(case))
    assert np.array_equal(found.ravel(), case.expected.ravel())


@cocotb.test(skip=IS_MATMUL, **LIMIT)
async def latency_is_the_stated_one(dut: SimHandleBase) -> None:
    """From the first beat in to the first beat out, of a row that meets an empty core."""
    core = Core(dut, "none")
    await core.reset()
    case = CASES[0]
    await core.configure(case.constants)
    row = case.x[:case.lengths[0]]
    core.sources[0].send_nowait(AxiStreamFrame(_bytes(row, SPEC.in_format)))
    began = cycle = None
    for cycle in range(20_000):
        await RisingEdge(dut.aclk)
        if began is None and dut.s_axis_tvalid.value and dut.s_axis_tready.value:
            began = cycle
        if dut.m_axis_tvalid.value:
            break
    beats = -(-row.size // SPEC.lanes)
    stated = JOB.timing["latency_fixed"] + JOB.timing["latency_per_beat"] * beats
    assert cycle - began == stated, f"the latency must be {stated} cycles, not {cycle - began}"


async def _nothing(constants: object) -> None:
    """Stand in for writing constants that are there already."""


def _bytes(elements: np.ndarray, fmt: Format) -> bytes:
    """Return elements as TDATA has them, noise in the bits above their format."""
    size = -(-fmt.width // 8)
    noise = 0x55 << fmt.width
    return b"".join(((int(x) & (1 << fmt.width) - 1) | noise & (1 << 8 * size) - 1)
                    .to_bytes(size, "little") for x in elements)


def _elements(data: bytes, fmt: Format) -> np.ndarray:
    """Return elements from TDATA, whose upper bits must extend them."""
    size = -(-fmt.width // 8)
    return np.array([int.from_bytes(data[i:i + size], "little", signed=fmt.signed)
                     for i in range(0, len(data), size)], np.int64)
