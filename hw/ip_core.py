"""IP cores of units: self-contained Verilog with AXI ports, and what a package says of it."""

from amaranth.hdl import ClockDomain, Module, Signal

from vitrtl.hw.axi_stream import AxiUnit
from vitrtl.hw.verilog import FlatPorts, module_name, verilog_text
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.packaging.core import IpCore, Port

__all__ = ["generate_core"]


def generate_core(name: str, spec: Spec, device: str = "generic") -> IpCore:
    """Return the IP core of a unit, the same for the same arguments and tool versions.

    Parameters
    ----------
    name : a unit of the catalogue.
    spec : its numbers.
    device : `generic` or `ecp5`, see `vitrtl.hw.device`.
    """
    entry = unit(name)
    gates = entry.gates(spec)
    timing = gates.timing
    core = AxiUnit(gates, spec, identity(name, spec))
    top = FlatPorts(core)
    m = Module()
    aclk, aresetn = Signal(name="aclk"), Signal(name="aresetn")
    domain = ClockDomain("sync", local=True)
    m.domains += domain
    m.d.comb += [domain.clk.eq(aclk), domain.rst.eq(~aresetn)]
    m.submodules.core = top
    module = f"{module_name(name, spec)}_axi"
    text = verilog_text(m, module, [aclk, aresetn, *(s for s, _ in top.ports.values())], device)
    ports = [Port(name="aclk", width=1, into=True), Port(name="aresetn", width=1, into=True)]
    ports += [Port(name=port, width=len(signal), into=into)
              for port, (signal, into) in top.ports.items()]
    return IpCore(
        module=module, unit=name, operator=entry.operator, method=entry.method,
        source=entry.source, spec=spec, device=device, body=text, ports=tuple(ports),
        streams=tuple(core.names), latency_fixed=timing.latency_fixed + core.LATENCY,
        latency_per_beat=timing.latency_per_beat, interval_min=timing.interval_min)
