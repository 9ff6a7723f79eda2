"""What there is to say of one IP core; every file of its package is written from it."""

import dataclasses

from vitrtl.sw.boards.protocol import IDENTITY_BYTES, identity
from vitrtl.sw.golden.unit import Spec

__all__ = ["VERSION", "IpCore", "Port"]

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IpCore:
    """A unit with AXI ports.

    Parameters
    ----------
    module : name of the Verilog module.
    unit, operator, method, source : of the catalogue.
    spec : build-time numbers.
    device : what the gates are written for.
    body : the Verilog without a header.
    ports : in the order of the module.
    streams : names of the AXI4-Streams; those into the core begin with `s_`.
    latency_fixed, latency_per_beat, interval_min : cycles, see `vitrtl.hw.timing`.
    """

    module: str
    unit: str
    operator: str
    method: str
    source: str
    spec: Spec
    device: str
    body: str
    ports: tuple[Port, ...]
    streams: tuple[str, ...]
    latency_fixed: int
    latency_per_beat: int
    interval_min: int

    @property
    def summary(self) -> str:
        """One line for people."""
        return f"{self.operator} {self.method} ({self.source}), integer-only, AXI4-Stream"

    @property
    def verilog(self) -> str:
        """The Verilog file."""
        head = [f"{self.module}: {self.summary}", "",
                f"Spec {self.spec.digest}: "
                + ", ".join(f"{k}={v}" for k, v in self.spec.asdict().items()),
                f"Device: {self.device}", "", "Ports, registers and timing: README.md."]
        return "".join(f"// {line}".rstrip() + "\n" for line in head) + "\n" + self.body

    @property
    def identity(self) -> list[int]:
        """The words that the core's identity reads as, from byte address 0 on."""
        whole = identity(self.unit, self.spec)
        return [int.from_bytes(whole[i:i + 4], "little") for i in range(0, IDENTITY_BYTES, 4)]
