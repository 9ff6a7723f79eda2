"""The matrix multiplication that takes powers of two as codes."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw.fast.paths import fast_path
from vitrtl.sw.golden.fixed_point import WidthError
from vitrtl.sw.golden.log2_code import log2_value
from vitrtl.sw.golden.matmul import MatMulSpec, matmul

RNG = np.random.default_rng(0)
SPEC = MatMulSpec(operand="log2")


def test_a_code_is_a_power_of_two_or_zero():
    values = [int(Fraction(1, 2**code) * 2**15) if code < 16 else 0 for code in range(32)]
    assert log2_value(np.arange(32)).tolist() == values
    with pytest.raises(WidthError, match="^log2 code must fit u5"):
        log2_value(np.array([32]))


def test_a_product_is_a_sum_of_shifted_weights():
    codes, weights = RNG.integers(0, 32, (5, 40)), RNG.integers(-128, 128, (40, 7))
    wanted = [[sum(int(w) << (15 - c) for c, w in zip(row, column, strict=True) if c < 16)
               for column in weights.T] for row in codes.tolist()]
    assert matmul(codes, weights, SPEC).tolist() == wanted


@pytest.mark.parametrize("inner", [1, 197, SPEC.longest_inner])
def test_the_fast_path_equals_the_golden_function(inner):
    codes, weights = RNG.integers(0, 17, (2, 9, inner)), RNG.integers(-128, 128, (2, inner, 8))
    codes[0, 0], weights[0, :, 0] = 0, -128
    fast = fast_path("matmul", SPEC, None)(codes, weights)
    np.testing.assert_array_equal(fast, matmul(codes, weights, SPEC))


@pytest.mark.parametrize(("spec", "longest"), [(SPEC, 511), (MatMulSpec(), 131071)])
def test_no_operands_overflow_over_the_longest_inner_dimension(spec, longest):
    assert spec.longest_inner == longest
    largest = 0 if spec.operand == "log2" else -128
    matmul(np.full((1, longest), largest), np.full((longest, 1), -128), spec)
    with pytest.raises(WidthError, match="^accumulator must fit s32"):
        matmul(np.full((1, longest + 2), largest), np.full((longest + 2, 1), -128), spec)


def test_probabilities_over_a_longer_row_fit():
    """A softmax's codes are no more than its exact probabilities, rounded: their sum is below 2."""
    codes = np.full((1, 2048), 11)
    assert matmul(codes, np.full((2048, 1), -128), SPEC).tolist() == [[-128 << 15]]


def test_formats_and_registers():
    assert [str(f) for f in (SPEC.in_format, SPEC.product_format, SPEC.sum_format)] == [
        "u5", "s23", "s26"]
    assert SPEC.registers == MatMulSpec().registers
    with pytest.raises(ValueError, match="^operand must be linear or log2, not 'base2'$"):
        MatMulSpec(operand="base2")
