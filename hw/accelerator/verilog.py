"""Self-contained Verilog of the whole accelerator, with plain port names."""

from collections.abc import Iterator

from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from vitrtl.hw.accelerator.accelerator import Accelerator
from vitrtl.hw.verilog import verilog_text
from vitrtl.sw.accelerator.registers import REGISTERS
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["MODULE", "FlatPorts", "generate_accelerator"]

MODULE = "accelerator"


class FlatPorts(Elaboratable):
    """A component whose interfaces are taken apart into one port per signal.

    Parameters
    ----------
    component : any.

    Attributes
    ----------
    ports : name to (signal, whether it is an input); parts of a name are joined by `_`.
    """

    def __init__(self, component: wiring.Component) -> None:
        self.component = component
        self.ports: dict[str, tuple[Signal, bool]] = {}
        self._links: list[tuple[Value, Signal, bool]] = []
        for path, member, value in component.signature.flatten(component):
            name, into = "_".join(map(str, path)), member.flow == In
            signal = Signal(len(Value.cast(value)), name=name)
            self.ports[name] = (signal, into)
            self._links.append((Value.cast(value), signal, into))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.component = self.component
        for value, signal, into in self._links:
            m.d.comb += value.eq(signal) if into else signal.eq(value)
        return m


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
    clk, rst = Signal(name="clk"), Signal(name="rst")
    domain = ClockDomain("sync", local=True)
    m.domains += domain
    m.d.comb += [domain.clk.eq(clk), domain.rst.eq(rst)]
    m.submodules.core = top
    ports = [clk, rst, *(signal for signal, _ in top.ports.values())]
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
                "is synchronous, active high, and forgets what is outstanding on m_axi.",
                "", "Ports", "  clk  input  1", "  rst  input  1")
    for port, (signal, into) in top.ports.items():
        yield f"  {port}  {'input' if into else 'output'}  {len(signal)}"
    yield from ("", "Registers of s_axi, all of 32 bits")
    for register in REGISTERS.values():
        yield f"  {register.address:#04x}  {register.name.upper()}  {register.access}"


def _numbers(spec: object) -> str:
    """Return a spec's fields."""
    return ", ".join(f"{name}={value}" for name, value in spec.asdict().items())
