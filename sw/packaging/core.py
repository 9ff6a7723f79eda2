"""What there is to say of one IP core; every file of its package is written from it."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.boards.protocol import IDENTITY_BYTES, identity
from vitrtl.sw.golden.unit import Spec

__all__ = ["VERSION", "AcceleratorCore", "IpCore", "Port", "UnitCore"]

VERSION = "0.1.0"
"""Of every core: it is the package's own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of the module.

    Parameters
    ----------
    name, width : of the signal.
    into : whether it is an input.
    """

    name: str
    width: int
    into: bool

    @property
    def kind(self) -> str:
        """`input` or `output`."""
        return "input" if self.into else "output"


@dataclasses.dataclass(frozen=True, kw_only=True)
class IpCore(abc.ABC):
    """A module with AXI ports.

    Parameters
    ----------
    module : name of the Verilog module.
    device : what the gates are written for.
    body : the Verilog without a header.
    ports : in the order of the module.
    """

    module: str
    device: str
    body: str
    ports: tuple[Port, ...]

    @property
    @abc.abstractmethod
    def summary(self) -> str:
        """One line for people."""

    @property
    @abc.abstractmethod
    def numbers(self) -> Mapping[str, Any]:
        """Numbers of the spec, by name."""

    @property
    @abc.abstractmethod
    def buses(self) -> tuple[str, ...]:
        """Names of the AXI ports."""

    @property
    def interrupts(self) -> tuple[str, ...]:
        """Names of the ports that are interrupts."""
        return ()

    @property
    def verilog(self) -> str:
        """The Verilog file."""
        numbers = ", ".join(f"{name}={value}" for name, value in self.numbers.items())
        head = [f"{self.module}: {self.summary}", "", f"Spec {self.spec.digest}: {numbers}",
                f"Device: {self.device}", "", "Ports, registers and timing: README.md."]
        return "".join(f"// {line}".rstrip() + "\n" for line in head) + "\n" + self.body


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitCore(IpCore):
    """A unit: rows over AXI4-Stream, constants over AXI4-Lite.

    Parameters
    ----------
    unit, operator, method, source : of the catalogue.
    spec : build-time numbers.
    streams : names of the AXI4-Streams; those into the core begin with `s_`.
    latency_fixed, latency_per_beat, interval_min : cycles, see `vitrtl.hw.timing`.
    """

    unit: str
    operator: str
    method: str
    source: str
    spec: Spec
    streams: tuple[str, ...]
    latency_fixed: int
    latency_per_beat: int
    interval_min: int

    @property
    def summary(self) -> str:
        """One line for people."""
        return f"{self.operator} {self.method} ({self.source}), integer-only, AXI4-Stream"

    @property
    def numbers(self) -> Mapping[str, Any]:
        """Numbers of the spec, by name."""
        return self.spec.asdict()

    @property
    def buses(self) -> tuple[str, ...]:
        """Names of the AXI ports."""
        return "s_axi", *self.streams

    @property
    def identity(self) -> list[int]:
        """The words that the core's identity reads as, from byte address 0 on."""
        whole = identity(self.unit, self.spec)
        return [int.from_bytes(whole[i:i + 4], "little") for i in range(0, IDENTITY_BYTES, 4)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceleratorCore(IpCore):
    """The accelerator of a network: memory over AXI4, registers over AXI4-Lite.

    Parameters
    ----------
    program : that it runs, compiled for it.
    reset_cycles : until it is ready after a reset.
    """

    program: Program
    reset_cycles: int

    @property
    def spec(self) -> AcceleratorSpec:
        """Numbers of the accelerator."""
        return self.program.spec

    @property
    def summary(self) -> str:
        """One line for people."""
        return (f"vision transformer {self.program.network} from patches to logits, integer-only, "
                "AXI4")

    @property
    def numbers(self) -> Mapping[str, Any]:
        """Numbers of the spec, by name; the engines have a table of their own."""
        return {name: value for name, value in self.spec.asdict().items() if name != "engines"}

    @property
    def buses(self) -> tuple[str, ...]:
        """Names of the AXI ports."""
        return "s_axi", "m_axi"

    @property
    def interrupts(self) -> tuple[str, ...]:
        """Names of the ports that are interrupts."""
        return ("irq",)
