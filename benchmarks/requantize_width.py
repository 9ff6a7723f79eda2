"""What the width of the requantizer's multiplier costs: SQNR and codes that change.

Run: python benchmarks/requantize_width.py
"""

from fractions import Fraction
from math import floor

import numpy as np
from rich.console import Console
from rich.table import Table

from vitrtl.sw.golden.requantize import RequantizeSpec, derive, requantize

WIDTHS = (10, 12, 14, 16, 17, 18)
CHANNELS = 256
ROWS = 64


def main() -> None:
    """Compare each width with the exact product on the same random accumulators."""
    table = Table("multiplier bits", "result", "SQNR dB", "codes that change",
                  title=f"{CHANNELS * ROWS} accumulators, ratios spread over 2**-24 to 1")
    for out_width in (8, 16):
        rng = np.random.default_rng(0)
        ratios = [Fraction(float(2.0 ** e)) for e in rng.uniform(-24, 0, CHANNELS)]
        top = (1 << (out_width - 1)) - 1
        # Accumulators that fill the result's range, as calibration makes them.
        real = rng.normal(0, top / 4, (ROWS, CHANNELS))
        x = np.clip(np.rint(real / [float(r) for r in ratios]), -2**31, 2**31 - 1).astype(np.int64)
        exact = np.array([[min(max(floor(int(v) * r + Fraction(1, 2)), -top - 1), top)
                           for v, r in zip(row, ratios, strict=True)] for row in x])
        target = x * np.array([float(r) for r in ratios])
        for width in WIDTHS:
            spec = RequantizeSpec(out_width=out_width, multiplier_width=width,
                                  shift_min=width - 2)
            constants, _ = derive(spec, ratios)
            found = requantize(x, spec, constants)
            inside = np.abs(target) < top
            noise = ((found - target)[inside] ** 2).mean()
            sqnr = 10 * np.log10((target[inside] ** 2).mean() / noise)
            table.add_row(str(width), f"s{out_width}", f"{sqnr:.2f}",
                          f"{100 * (found != exact).mean():.2f} %")
    Console().print(table)


if __name__ == "__main__":
    main()
