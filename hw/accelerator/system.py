"""The accelerator with its memory on the same device, driven by a host's commands."""

from amaranth.hdl import ClockDomain, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.accelerator import Accelerator, id_bits
from vitrtl.hw.accelerator.host_bridge import CommandLayout, HostBridge
from vitrtl.hw.accelerator.onchip_memory import OnchipMemory
from vitrtl.hw.stream_shell import StreamShell
from vitrtl.hw.verilog import FlatPorts, verilog_text
from vitrtl.sw.accelerator.host_protocol import memory_map
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.boards.accelerator_client import accelerator_identity

__all__ = ["System", "serial_system", "system_verilog"]


class System(wiring.Component):
    """Accelerator, memory that holds a program from the start, and a host's bridge to both.

    Parameters
    ----------
    program : its memory begins at address 0, images and logits have their places behind it.

    Members
    -------
    rst : as the accelerator's, which it reaches a cycle later.
    command, data, answer : see `vitrtl.sw.accelerator.host_protocol`.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        width = 8 * program.spec.bus_bytes
        super().__init__({
            "rst": In(1),
            "command": In(stream.Signature(CommandLayout())),
            "data": In(stream.Signature(width)),
            "answer": Out(stream.Signature(width)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        program, spec = self.program, self.program.spec
        m.submodules.accelerator = accelerator = Accelerator(spec)
        memory = OnchipMemory(
            spec.bus_bytes, id_bits(spec), memory_map(program).words, program.memory)
        bridge = HostBridge(spec.bus_bytes, memory.words)
        # One after the other, as inside the accelerator.
        m.d.sync += accelerator.rst.eq(self.rst)
        reset = accelerator.rst
        for name, part in (("bridge", bridge), ("memory", memory)):
            here = Signal(init=1, name=f"reset_{name}")
            m.d.sync += here.eq(reset)
            m.submodules[name] = ResetInserter(here)(part)
            reset = here
        wiring.connect(m, accelerator.m_axi, memory.axi)
        wiring.connect(m, bridge.registers, accelerator.s_axi)
        wiring.connect(m, bridge.r, memory.r)
        wiring.connect(m, bridge.w, memory.w)
        for name in ("command", "data"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(bridge, name))
        wiring.connect(m, bridge.answer, wiring.flipped(self.answer))
        return m


def system_verilog(program: Program, name: str, device: str) -> str:
    """Return the Verilog with clock, reset and the three streams as ports.

    Parameters
    ----------
    program : see `System`.
    name : of the module.
    device : see `vitrtl.hw.device`.
    """
    top = FlatPorts(System(program))
    m = Module()
    clk = Signal(name="clk")
    domain = ClockDomain("sync", reset_less=True, local=True)
    m.domains += domain
    m.d.comb += domain.clk.eq(clk)
    m.submodules.core = top
    return verilog_text(m, name, [clk, *(signal for signal, _ in top.ports.values())], device)


def serial_system(program: Program) -> StreamShell:
    """Return the whole behind bytes, as `vitrtl.sw.boards.accelerator_client` speaks to it."""
    return StreamShell(System(program), accelerator_identity(program))
