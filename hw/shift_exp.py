"""Power-of-two exponential of I-ViT, golden model `vitrtl.sw.golden.shift_exp`."""

from amaranth.hdl import Mux, Signal, Value, unsigned

from vitrtl.hw.pipeline import Pipeline

__all__ = ["PARTS_STAGES", "SHIFT_STAGES", "shift_exp_parts", "shift_exp_value"]

PARTS_STAGES = 5
"""Latency of `shift_exp_parts`."""

SHIFT_STAGES = 2
"""Latency of `shift_exp_value`."""


def shift_exp_parts(pipe: Pipeline, distance: Value, spec: object, i0: Value,
                    reciprocal: Value, *, floor: bool = True) -> tuple[Value, Value]:
    """Return `(u, q)` of a distance at or below zero, so that its exponential is
    `(u << (n - q)) >> 1`.

    The division by `I0` is a product with its reciprocal, which is exact for every distance.

    Parameters
    ----------
    pipe : the pipeline that the data path is part of.
    distance : signed, at or below zero.
    spec : has `magnitude_width`, `reciprocal_shift`, `i0_width` and `n`.
    i0, reciprocal : run-time constants.
    floor : whether distances of n octaves and more count as n, or as infinite with `u = 0`.

    Latency
    -------
    5 stages.
    """
    m = pipe.m
    # Stage 1, in the multiplier's input register: p is the distance times 1.4375, negated.
    p = Signal(unsigned(spec.magnitude_width))
    m.d.comb += p.eq((distance >> 4) - distance - (distance >> 1))
    # Stage 2: the quotient, clamped to n.
    quotient = pipe.multiply(p, reciprocal) >> spec.reciprocal_shift
    beyond = Signal()
    q = Signal(range(spec.n + 1))
    m.d.comb += [beyond.eq(quotient >= spec.n), q.eq(Mux(beyond, spec.n, quotient))]
    # Stages 3 and 4: q * I0.
    product = pipe.multiply(q, i0)
    # Stage 5: u = 2*I0 - remainder; at and beyond n octaves there is no remainder.
    remainder = Signal(unsigned(spec.i0_width))
    m.d.comb += remainder.eq(pipe.reg(p, 4) - product)
    u = Signal(unsigned(spec.i0_width + 1))
    last = pipe.reg(beyond, 2)
    m.d.comb += u.eq((i0 << 1) - Mux(last, 0, remainder) if floor
                     else Mux(last, 0, (i0 << 1) - remainder))
    return pipe.reg(u), pipe.reg(q, 3)


def shift_exp_value(pipe: Pipeline, u: Value, q: Value, n: int) -> Value:
    """Return `(u << (n - q)) >> 1`.  Latency: 2 stages."""
    return pipe.shift_right(Value.cast(u << (n - 1)), q, len(u) + n - 1)
