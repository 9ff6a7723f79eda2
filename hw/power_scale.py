"""Scales that are powers of two, golden model `vitrtl.sw.golden.power_scale`."""

from amaranth.hdl import Cat, Mux, Signal, Value

from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.shift_exp import LOG2E_STAGES, times_log2e
from vitrtl.sw.golden.power_scale import PowerScaleSpec

__all__ = ["ALIGN_STAGES", "SPLIT_STAGES", "aligned", "split"]

ALIGN_STAGES = 2
"""Latency of `aligned`."""

SPLIT_STAGES = ALIGN_STAGES + LOG2E_STAGES + 1
"""Latency of `split`."""


def aligned(pipe: Pipeline, distance: Value, spec: PowerScaleSpec, exponent: Value) -> Value:
    """Return a distance of scale `2**-exponent` at the scale `2**-finest`.  Latency: 2 stages."""
    width = len(distance) + spec.finest
    return pipe.shift_right_sparse(distance << spec.finest, exponent, width).as_signed()


def split(pipe: Pipeline, distance: Value, spec: PowerScaleSpec,
          exponent: Value) -> tuple[Value, Value]:
    """Return the slices `(f, q)` of a distance at or below zero: its exponential is close to
    `2**(f - q)` and closer to `(1 + f) * 2**-q`.

    From 15 octaves on it is `(0, 15)`.

    Parameters
    ----------
    pipe : the pipeline that the data path is part of.
    distance : signed, at or below zero.
    spec : of the unit.
    exponent : run-time constant.

    Latency
    -------
    5 stages.
    """
    m = pipe.m
    # Stages 1 and 2: align. Stages 3 and 4: times 1.4375, for log2(e).
    p = times_log2e(pipe, aligned(pipe, distance, spec, exponent))
    # Stage 5: of the octaves, 0 to -15 are kept. Their complement needs no carry chain.
    octaves, sign = p[spec.finest:spec.finest + 4], p[-1]
    beyond = Signal()
    m.d.comb += beyond.eq(sign & ~(p[spec.finest + 4:].all() & octaves.any()))
    negated = Cat(bit ^ octaves[:place].any() for place, bit in enumerate(octaves))
    return (pipe.reg(Mux(beyond, 0, p[:spec.finest])), pipe.reg(Mux(beyond, 15, negated)))
