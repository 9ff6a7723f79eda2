"""Power-of-two exponential: octaves, and a line in each.

Golden model `vitrtl.sw.golden.shift_exp`.
"""

from amaranth.hdl import Cat, Mux, Signal, Value, signed, unsigned

from vitrtl.hw.pipeline import Pipeline

__all__ = ["LOG2E_STAGES", "OCTAVE_STAGES", "PARTS_STAGES", "SHIFT_STAGES", "TANGENT_STAGES",
           "octave", "shift_exp_parts", "shift_exp_value", "tangent_parts", "tangent_value",
           "times_log2e"]

OCTAVE_STAGES = 4
"""Latency of `octave`."""

PARTS_STAGES = OCTAVE_STAGES + 1
"""Latency of `shift_exp_parts`."""

LOG2E_STAGES = 2
"""Latency of `times_log2e`."""

TANGENT_STAGES = LOG2E_STAGES + OCTAVE_STAGES + 3
"""Latency of `tangent_parts`."""

SHIFT_STAGES = 2
"""Latency of `shift_exp_value`."""


def times_log2e(pipe: Pipeline, distance: Value, *, negated: bool = False) -> Value:
    """Return the distance times 1.4375, by shifts, or its negative.  Latency: 2 stages.

    One adder a stage: of three operands at once, synthesis makes a compressor that is larger.
    """
    most, rest = pipe.reg(distance + (distance >> 1)), pipe.reg(distance >> 4)
    return pipe.reg(rest - most if negated else most - rest)


def octave(pipe: Pipeline, magnitude: Value, spec: object, i0: Value,
           reciprocal: Value) -> tuple[Value, Value, Value]:
    """Return `(q, beyond, q * I0)` with `q = min(magnitude // I0, n)`.

    The division by `I0` is a product with its reciprocal, which is exact for every magnitude.

    Parameters
    ----------
    pipe : the pipeline that the data path is part of.
    magnitude : unsigned.
    spec : has `reciprocal_shift` and `n`.
    i0, reciprocal : run-time constants.

    Latency
    -------
    4 stages for the product, of which the first is the multiplier's input register; 2 for the
    rest.
    """
    m = pipe.m
    # Stage 2: the quotient, clamped to n.
    quotient = pipe.multiply(magnitude, reciprocal) >> spec.reciprocal_shift
    beyond = Signal()
    q = Signal(range(spec.n + 1))
    m.d.comb += [beyond.eq(quotient >= spec.n), q.eq(Mux(beyond, spec.n, quotient))]
    # Stages 3 and 4: q * I0.
    return q, beyond, pipe.multiply(q, i0)


def shift_exp_parts(pipe: Pipeline, distance: Value, spec: object, i0: Value,
                    reciprocal: Value, *, floor: bool = True) -> tuple[Value, Value]:
    """Return `(u, q)` of a distance at or below zero, so that its exponential by the chord is
    `(u << (n - q)) >> 1`.

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
    q, beyond, product = octave(pipe, p, spec, i0, reciprocal)
    # Stage 5: u = 2*I0 - remainder; at and beyond n octaves there is no remainder.
    remainder = Signal(unsigned(spec.i0_width))
    m.d.comb += remainder.eq(pipe.reg(p, OCTAVE_STAGES) - product)
    u = Signal(unsigned(spec.i0_width + 1))
    last = pipe.reg(beyond, 2)
    m.d.comb += u.eq((i0 << 1) - Mux(last, 0, remainder) if floor
                     else Mux(last, 0, (i0 << 1) - remainder))
    return pipe.reg(u), pipe.reg(q, 3)


def tangent_parts(pipe: Pipeline, distance: Value, spec: object, i0: Value,
                  reciprocal: Value) -> tuple[Value, Value]:
    """Return `(u, q)` of a distance at or below zero, so that its exponential by the spec's line
    is `(u << (n - q)) >> places`.

    The bits of `u` that this shift drops are zero.

    Parameters
    ----------
    pipe : the pipeline that the data path is part of.
    distance : signed, at or below zero.
    spec : has `line`, `magnitude_width`, `mantissa_format`, `reciprocal_shift`, `i0_width`, `n`.
    i0, reciprocal : run-time constants.

    Latency
    -------
    9 stages.
    """
    m, line, n = pipe.m, spec.line, spec.n
    # Stages 1 and 2: p is the distance times 1.4375, negated.
    p = times_log2e(pipe, distance, negated=True)[:spec.magnitude_width]
    # Stages 3 to 6: octaves; half of one more makes the floor the nearest.
    q, beyond, product = octave(pipe, p + (i0 >> 1) if line.nearest else p, spec, i0, reciprocal)
    # Stage 7: the remainder, none from n octaves on.
    remainder = Signal(signed(spec.magnitude_width + 1))
    m.d.comb += remainder.eq(pipe.reg(p, OCTAVE_STAGES) - product)
    clamped = Signal(signed(spec.i0_width + 1))
    last = pipe.reg(beyond, 2)
    m.d.comb += clamped.eq(Mux(last & ~remainder[-1], 0, remainder))
    # Stages 8 and 9: the line, without the bits that the shift will drop.
    q = pipe.reg(q, 3)
    dropped = [pipe.reg(q > n - line.places + place) for place in range(line.places)]
    u = tangent_value(pipe, pipe.reg(clamped), i0, spec.mantissa_format.width)
    kept = [bit & ~drop for bit, drop in zip(u, dropped, strict=False)]
    return pipe.reg(Cat(*kept, u[line.places:])), pipe.reg(q, 2)


def tangent_value(pipe: Pipeline, remainder: Value, i0: Value, width: int) -> Value:
    """Return `(I0 << 4) - 11 * remainder`, not in a register.

    Latency
    -------
    1 stage.
    """
    eighth = pipe.reg((i0 << 1) - remainder)
    rest = pipe.reg(remainder + (remainder << 1))
    u = Signal(unsigned(width))
    pipe.m.d.comb += u.eq((eighth << 3) - rest)
    return u


def shift_exp_value(pipe: Pipeline, u: Value, q: Value, n: int) -> Value:
    """Return `(u << (n - q)) >> 1`.  Latency: 2 stages."""
    return pipe.shift_right_sparse(Value.cast(u << (n - 1)), q, len(u) + n - 1)
