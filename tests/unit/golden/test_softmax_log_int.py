"""Log-int-softmax against its published formula in fractions, and against float."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.log2_code import log2_value
from vitrtl.sw.golden.softmax_log_int import GOLDEN

SCALES = ["0.01", "0.0321", "0.05", "0.1", "0.137", "0.2", "0.25"]


def code_of(total: int, e: int) -> int:
    """The published rounding: of the ratio to an integer, and of that to a power of two."""
    if e == 0:
        return 16
    ratio = round(Fraction(total, e))
    q = ratio.bit_length() - 1
    if ratio - 2**q >= Fraction(2) ** (q - 1):
        q += 1
    return min(q, 16)


def exponentials(row: list[int], scale: str, bits: int | None) -> list[int]:
    """I-BERT's in exact arithmetic; brought to `bits` bits, sign included, if that is not None."""
    scale = Fraction(scale)
    x0 = floor(Fraction("-0.6931") / scale)
    b = floor(Fraction("0.96963238") / Fraction("0.35815147") / scale)
    c = floor(1 / Fraction("0.35815147") / scale**2)
    exps = []
    for x in row:
        distance = max(x - max(row), 30 * x0)
        q = floor(Fraction(distance, x0))
        r = distance - x0 * q
        exps.append(((r + b) * r + c) << (30 - q))
    if bits is None:
        return exps
    ratio, exponent = Fraction(2 ** (bits - 1) - 1, c << 30), 0
    while ratio < Fraction(1, 2):
        ratio, exponent = 2 * ratio, exponent - 1
    m = floor(ratio * 2**31 + Fraction(1, 2))
    return [round(Fraction(v * m, 2 ** (31 - exponent))) for v in exps]


def published(row: list[int], scale: str, bits: int | None = 16) -> list[int]:
    exps = exponentials(row, scale, bits)
    return [code_of(sum(exps), e) for e in exps]


@pytest.mark.parametrize("scale", [*SCALES, "1"])
def test_it_is_the_published_formula(scale):
    spec = GOLDEN.spec()
    constants, out_scale = GOLDEN.derive(spec, scale)
    assert (spec.operand, out_scale) == ("log2", 1)
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(0, sigma, (4, 37)) for sigma in (2, 10, 40)])
    rows = rows.clip(-128, 127).astype(int)
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        published(row, scale) for row in rows.tolist()]


def test_every_small_ratio_has_the_published_code(monkeypatch):
    """Ties of both roundings among them."""
    totals, exps = np.meshgrid(np.arange(1, 400), np.arange(0, 130))
    totals = np.concatenate([totals.ravel(), *(3 * 2**j * np.arange(1, 9) - 4 for j in range(20))])
    exps = np.concatenate([exps.ravel(), *([np.arange(1, 9)] * 20)])
    valid = totals >= np.maximum(exps, 1)
    totals, exps = totals[valid], exps[valid]
    monkeypatch.setattr("vitrtl.sw.golden.softmax_log_int.poly_exp",
                        lambda x, spec, constants: (exps, totals))
    found = GOLDEN.function(exps, GOLDEN.spec(), None)
    assert found.tolist() == [code_of(t, e) for t, e in zip(totals.tolist(), exps.tolist(),
                                                            strict=True)]
    assert set(found.tolist()) == set(range(17))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("length", [17, 65, 197, 577])
def test_its_error_is_within_its_statement(scale, length):
    spec = GOLDEN.spec(longest_row=1024)
    constants, _ = GOLDEN.derive(spec, scale)
    codes = quantized(np.concatenate(list(softmax_rows(length).values())), spec.in_format,
                      float(scale))
    found = log2_value(GOLDEN.function(codes, spec, constants)) / 2**15
    error = np.abs(found - reference.softmax(codes * float(scale))).max()
    assert error <= GOLDEN.error_limit(float(scale))


def test_more_bits_of_the_exponentials_change_few_codes():
    rows = quantized(np.concatenate(list(softmax_rows(197).values())), GOLDEN.spec().in_format,
                     0.05).tolist()
    few = np.array([published(row, "0.05", 16) for row in rows])
    many = np.array([published(row, "0.05", None) for row in rows])
    assert (few != many).mean() == pytest.approx(0.0051, abs=1e-4)
    assert np.abs(few - many).max() == 1
