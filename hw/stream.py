"""Payloads and signatures of the streams that every unit speaks.

All streams obey the four rules of Amaranth's stream page. A ready output may depend on the ready
input of the same unit in the same cycle.
"""

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import Spec, VectorSpec

__all__ = ["Beat", "ConfigWord", "shape_of", "vector_signature"]


def shape_of(fmt: Format) -> Shape:
    """Return the Amaranth shape of an integer format."""
    return signed(fmt.width) if fmt.signed else unsigned(fmt.width)


class Beat(data.StructLayout):
    """What a stream of rows carries in one cycle.

    Members
    -------
    data : one element per lane, lane 0 first.
    keep : which lanes hold an element, with more than one lane only; the others are padding,
        allowed in a row's last beat.
    first, last : whether the beat begins or ends its row.
    """

    def __init__(self, fmt: Format, lanes: int) -> None:
        self.lanes = lanes
        members = {"data": data.ArrayLayout(shape_of(fmt), lanes)}
        if lanes > 1:
            members["keep"] = lanes
        super().__init__(members | {"first": 1, "last": 1})


class ConfigWord(data.StructLayout):
    """One run-time constant on its way into a unit."""

    def __init__(self, spec: Spec) -> None:
        super().__init__({"address": spec.config_address_width, "data": spec.config_data_width})


def vector_signature(spec: VectorSpec) -> wiring.Signature:
    """Return the ports of a vector unit: configuration `c`, rows in `i`, rows out `o`."""
    return wiring.Signature({
        "c": In(stream.Signature(ConfigWord(spec))),
        "i": In(stream.Signature(Beat(spec.in_format, spec.lanes))),
        "o": Out(stream.Signature(Beat(spec.out_format, spec.lanes))),
    })
