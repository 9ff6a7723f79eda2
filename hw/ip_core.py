"""IP cores: self-contained Verilog with AXI ports, and what a package says of it."""

from amaranth.hdl import ClockDomain, Module, Signal

from vitrtl.hw.accelerator.accelerator import Accelerator, reset_stages
from vitrtl.hw.axi_stream import AxiUnit
from vitrtl.hw.verilog import FlatPorts, module_name, verilog_text
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.packaging.core import AcceleratorCore, Port, UnitCore

__all__ = ["generate_accelerator_core", "generate_core"]


def generate_core(name: str, spec: Spec, device: str = "generic") -> UnitCore:
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
    module = f"{module_name(name, spec)}_axi"
    text, ports = _module(FlatPorts(core), module, device)
    return UnitCore(
        module=module, unit=name, operator=entry.operator, method=entry.method,
        source=entry.source, spec=spec, device=device, body=text, ports=ports,
        streams=tuple(core.names), latency_fixed=timing.latency_fixed + core.LATENCY,
        latency_per_beat=timing.latency_per_beat, interval_min=timing.interval_min)


def generate_accelerator_core(program: Program, device: str = "generic") -> AcceleratorCore:
    """Return the IP core of the accelerator that a program is for.

    Parameters
    ----------
    program : compiled network; it comes with the core.
    device : `generic` or `ecp5`, see `vitrtl.hw.device`.
    """
    module = f"accelerator_{program.spec.digest}_axi"
    text, ports = _module(FlatPorts(Accelerator(program.spec)), module, device)
    return AcceleratorCore(module=module, device=device, body=text, ports=ports, program=program,
                           reset_cycles=reset_stages(program.spec))


def _module(top: FlatPorts, module: str, device: str) -> tuple[str, tuple[Port, ...]]:
    """Return Verilog and ports of a component behind the clock and the reset of AXI.

    A component that has a reset of its own, `rst`, gets it there, any other in its domain.
    """
    m = Module()
    aclk, aresetn = Signal(name="aclk"), Signal(name="aresetn")
    reset, _ = top.ports.get("rst", (None, True))
    domain = ClockDomain("sync", reset_less=reset is not None, local=True)
    m.domains += domain
    m.d.comb += [domain.clk.eq(aclk), (domain.rst if reset is None else reset).eq(~aresetn)]
    m.submodules.core = top
    outside = {name: port for name, port in top.ports.items() if port[0] is not reset}
    text = verilog_text(m, module, [aclk, aresetn, *(s for s, _ in outside.values())], device)
    return text, (Port(name="aclk", width=1, into=True), Port(name="aresetn", width=1, into=True),
                  *(Port(name=name, width=len(signal), into=into)
                    for name, (signal, into) in outside.items()))
