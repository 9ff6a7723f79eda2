"""Bit widths of weights and activations, under the names that the field gives them."""

import dataclasses
import re

from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.fixed_point import Format

__all__ = ["PRECISIONS", "W8A8", "Precision", "parse_precision"]

WEIGHT_BITS = (2, 8)
"""Narrowest and widest weight; the matrix multiplication takes s8."""
ACTIVATION_BITS = (4, 8)
"""Narrowest and widest activation, likewise."""


@dataclasses.dataclass(frozen=True, slots=True)
class Precision:
    """Bits of a linear layer's signed operands, `W4A8` being s4 weights and s8 activations.

    Parameters
    ----------
    weight_bits : of a weight.
    activation_bits : of an activation: what linear layers, attention products, softmax and GELU
        read. The residual stream, which LayerNorm reads, is s16 and accumulators are s32 always.
    """

    weight_bits: int
    activation_bits: int

    def __post_init__(self) -> None:
        for what, bits, (lo, hi) in (("weights", self.weight_bits, WEIGHT_BITS),
                                     ("activations", self.activation_bits, ACTIVATION_BITS)):
            if not lo <= bits <= hi:
                raise UserError(f"{what} must have {lo}..{hi} bits, not {bits}")

    @property
    def name(self) -> str:
        """Usual name, in small letters, as `parse_precision` takes it."""
        return f"w{self.weight_bits}a{self.activation_bits}"

    @property
    def weight_format(self) -> Format:
        """Format of a weight."""
        return Format(self.weight_bits, True)

    @property
    def activation_format(self) -> Format:
        """Format of an activation."""
        return Format(self.activation_bits, True)


W8A8 = Precision(8, 8)
PRECISIONS = {precision.name: precision for precision in (W8A8, Precision(6, 6), Precision(4, 8))}
"""Those that are measured and reported, by name; others of the same form work as well."""


def parse_precision(name: str) -> Precision:
    """Return the precision of a name such as `w4a8`, in small or capital letters.

    Raises
    ------
    UserError
        For a name of another form, or widths that the units do not take.
    """
    found = re.fullmatch(r"w(\d{1,2})a(\d{1,2})", name.lower())
    if not found:
        raise UserError(f"precision must be {', '.join(PRECISIONS)} or another wNaM, not {name!r}")
    return Precision(int(found[1]), int(found[2]))
