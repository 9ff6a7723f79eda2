"""Self-contained Verilog of the whole accelerator, with plain port names."""

from collections.abc import Iterator

from amaranth.hdl import ClockDomain, Module, Signal

from vitrtl.hw.accelerator.accelerator import Accelerator, reset_stages
from vitrtl.hw.verilog import FlatPorts, verilog_text
from vitrtl.sw.accelerator.registers import REGISTERS
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["MODULE", "generate_accelerator"]

MODULE = "accelerator"


def generate_accelerator(spec: AcceleratorSpec, device: str = "generic", taps: bool = False) -> str:
    """Return the Verilog, the same text for the same arguments and tool versions.

    Parameters
    ----------
    spec : of the accelerator.
    device : `generic` or `ecp5`, see `vitrtl.hw.device`.
    taps : with the ports for a bench, see `Accelerator`.
    """
    top = FlatPorts(Accelerator(spec, taps))
    m = Module()
    clk = Signal(name="clk")
    domain = ClockDomain("sync", reset_less=True, local=True)
    m.domains += domain
    m.d.comb += domain.clk.eq(clk)
    m.submodules.core = top
    ports = [clk, *(signal for signal, _ in top.ports.values())]
    body = verilog_text(m, MODULE, ports, device)
    lines = _header(spec, device, top)
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n" + body


def _header(spec: AcceleratorSpec, device: str, top: FlatPorts) -> Iterator[str]:
    """Yield the lines that document sizes, ports and registers."""
    yield from (f"{MODULE}: a vision transformer from patches to logits, in integers", "")
    yield f"Spec {spec.digest}: " + ", ".join(
        f"{name}={value}" for name, value in spec.asdict().items() if name != "engines")
    yield "Engines"
    for index in range(spec.engine_count):
        yield f"  {index}  {spec.engine_name(index)}"
        if index >= 2:
            engine = spec.engines[index - 2]
            yield f"     {_numbers(engine.spec)}"
            if engine.requantize is not None:
                yield f"     requantize: {_numbers(engine.requantize)}"
    yield from (f"Device: {device}", "",
                "m_axi is an AXI4 manager: bursts of type INCR, of whole beats, that cross no",
                "multiple of 4096 bytes; writes bear the identifier 0, reads that of who asks.",
                "s_axi is an AXI4-Lite subordinate. irq is high from the end of a run until it is",
                "cleared or the next one starts. All is synchronous to the rising edge of clk; rst",
                "is synchronous, active high, and forgets what is outstanding on m_axi; after one",
                f"cycle of it or more, all is as in the beginning {reset_stages(spec)} cycles on.",
                "", "Ports", "  clk  input  1")
    for port, (signal, into) in top.ports.items():
        yield f"  {port}  {'input' if into else 'output'}  {len(signal)}"
    yield from ("", "Registers of s_axi, all of 32 bits")
    for register in REGISTERS.values():
        yield f"  {register.address:#04x}  {register.name.upper()}  {register.access}"


def _numbers(spec: object) -> str:
    """Return a spec's fields."""
    return ", ".join(f"{name}={value}" for name, value in spec.asdict().items())
