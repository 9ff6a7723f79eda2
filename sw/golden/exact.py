"""Functions that an export step tabulates, to more digits than any table keeps, without a float.

The results are the same on every machine, which those of a float library are not.
"""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

__all__ = ["exp", "normal_cdf"]

DIGITS = 40
"""Significant digits of the arithmetic; the results keep 30 of them."""
TAIL = 12
"""Where the normal distribution's rest is below 1e-32."""
SQRT_TAU = Decimal("2.50662827463100050241576528481104525300698674060993831662992")
"""sqrt(2*pi)."""


def exp(x: Fraction) -> Fraction:
    """Return `e**x` to 30 significant digits."""
    x = Fraction(x)
    with localcontext(Context(prec=DIGITS)):
        return Fraction((Decimal(x.numerator) / x.denominator).exp())


def normal_cdf(x: Fraction) -> Fraction:
    """Return `(1 + erf(x / sqrt(2))) / 2` to 30 digits after the point.

    Source
    ------
    `1/2 + exp(-x**2 / 2) / sqrt(2*pi) * (x + x**3 / 3 + x**5 / (3*5) + ...)`, whose terms all
    have one sign.
    """
    x = Fraction(x)
    if abs(x) > TAIL:
        return Fraction(int(x > 0))
    with localcontext(Context(prec=DIGITS)):
        value = Decimal(x.numerator) / x.denominator
        square = value * value
        total, term, odd = Decimal(0), value, 1
        while total + term != total:
            total += term
            odd += 2
            term = term * square / odd
        return Fraction(Decimal("0.5") + (-square / 2).exp() * total / SQRT_TAU)
