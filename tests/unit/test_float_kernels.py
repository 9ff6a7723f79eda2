"""Loops over float activations against torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from vitrtl.sw.fast import float_kernels
from vitrtl.sw.ptq.activation_search import SHARES, rounded

STEPS = 31


@pytest.fixture
def x():
    """Return values of some images, more than a block's; some lie between two codes exactly."""
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 5, 7, 19)).astype(np.float32)
    values[0, 0, 0, :6] = (np.arange(6) - 2.5) * np.float32(4 / STEPS)
    values[2, 1, 1] = 0.0
    return values


def shifts_of(x, change):
    """Return limits, gradients, and what torch says that rounding makes of the probes.

    Shape
    -----
    `x` (images, ...); the result (images, limits, probes).
    """
    limits = [4.0 * share for share in SHARES]
    gradients = np.random.default_rng(1).normal(size=(4, *x.shape)).astype(np.float32)
    value = torch.from_numpy(x)
    errors = torch.stack([change(rounded(value, limit, STEPS)) - change(value)
                          for limit in limits]).flatten(2)
    found = torch.einsum("sie,pie->isp", errors.double(),
                         torch.from_numpy(gradients).flatten(2).double())
    return limits, gradients.reshape(4, len(x), -1), found.numpy()


def scales_of(limits):
    return (np.array(limits) / STEPS).astype(np.float32)


def test_shifts_of_an_operand(x):
    limits, gradients, wanted = shifts_of(x, lambda value: value)
    found = np.zeros_like(wanted)
    float_kernels.linear_shifts(x.reshape(3, -1), scales_of(limits), np.float32(STEPS), gradients,
                                found)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_shifts_of_a_function_of_each_element(x):
    limits, gradients, wanted = shifts_of(x, functional.gelu)
    scales, found = scales_of(limits), np.zeros_like(wanted)
    codes = np.arange(STEPS, -STEPS - 1, -1, dtype=np.float32)
    float_kernels.element_shifts(
        x.reshape(3, -1), functional.gelu(torch.from_numpy(x)).numpy().reshape(3, -1), scales,
        np.float32(STEPS), functional.gelu(torch.from_numpy(np.outer(scales, codes))).numpy(),
        gradients, found)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_shifts_of_a_softmax(x):
    x = x * 30
    limits, gradients, wanted = shifts_of(x, lambda value: value.softmax(dim=-1))
    scales, found = scales_of(limits), np.zeros_like(wanted)
    float_kernels.softmax_shifts(
        x.reshape(3, -1, 19), torch.from_numpy(x).softmax(dim=-1).numpy().reshape(3, -1, 19),
        scales, np.float32(STEPS), np.exp(-np.outer(scales, np.arange(2 * STEPS + 1, dtype="f4"))),
        gradients, found)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_magnitudes_fall_into_the_bins_of_a_histogram(x):
    counts = np.ones(64, np.int64)
    x[1, 0, 0, :2] = -8.0, 8.0
    float_kernels.add_magnitudes(x.ravel(), 64 / 8.0, counts)
    np.testing.assert_array_equal(
        counts - 1, torch.from_numpy(np.abs(x)).histc(64, 0.0, 8.0).numpy().astype(np.int64))


def test_channels_are_added_as_numpy_adds_them(x):
    rows = x.reshape(-1, 19)
    sums, squares = np.zeros((2, 19))
    low, high = np.full_like(sums, np.inf), np.full_like(sums, -np.inf)
    float_kernels.add_channels(rows, sums, squares, low, high)
    wide = rows.astype(np.float64)
    for found, wanted in ((sums, wide.sum(axis=0)), (squares, np.square(wide).sum(axis=0)),
                          (low, wide.min(axis=0)), (high, wide.max(axis=0))):
        np.testing.assert_array_equal(found, wanted)
