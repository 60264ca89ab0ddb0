"""The layers compute what their definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery_intelligence import nets


def drawn(shape: tuple[int, ...], seed: int) -> nets.Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_definition(x: nets.Array, weights: nets.Array, stride: int) -> nets.Array:
    """One sum for each pixel and channel; outside the picture is zero, the odd pixel at the far side (TensorFlow's SAME)."""
    kernel, _, channels, wanted = weights.shape
    height, width = (math.ceil(side / stride) for side in x.shape[:2])
    starts = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) // 2 for side in x.shape[:2]]
    result = np.zeros((height, width, wanted), np.float32)
    for row in range(height):
        for column in range(width):
            for down in range(kernel):
                for right in range(kernel):
                    y, z = row * stride + down - starts[0], column * stride + right - starts[1]
                    if 0 <= y < x.shape[0] and 0 <= z < x.shape[1]:
                        result[row, column] += x[y, z] @ weights[down, right]
    assert channels == x.shape[2]
    return result


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(size=SIZES, kernel=st.sampled_from([1, 3, 5]), stride=st.sampled_from([1, 2]), seed=st.integers(0, 99))
def test_a_convolution_is_its_definition(size: tuple[int, int], kernel: int, stride: int, seed: int) -> None:
    x, weights, bias = drawn((*size, 3), seed), drawn((kernel, kernel, 3, 4), seed + 1), drawn((4,), seed + 2)
    np.testing.assert_allclose(
        nets.convolution(x, weights, bias, stride), by_definition(x, weights, stride) + bias, rtol=1e-4, atol=1e-4
    )


@given(size=SIZES, kernel=st.sampled_from([3, 5]), stride=st.sampled_from([1, 2]), seed=st.integers(0, 99))
def test_a_depthwise_convolution_keeps_channels_apart(size: tuple[int, int], kernel: int, stride: int, seed: int) -> None:
    x, weights = drawn((*size, 3), seed), drawn((kernel, kernel, 3), seed + 1)
    apart = np.zeros((kernel, kernel, 3, 3), np.float32)
    for channel in range(3):
        apart[:, :, channel, channel] = weights[:, :, channel]
    np.testing.assert_allclose(nets.depthwise(x, weights, stride), by_definition(x, apart, stride), rtol=1e-4, atol=1e-4)


def test_a_convolution_can_have_the_same_border_on_all_sides() -> None:
    x, weights, bias = drawn((8, 6, 2), 1), drawn((7, 7, 2, 3), 2), np.zeros(3, np.float32)
    wide = np.pad(x, ((3, 3), (3, 3), (0, 0)))
    whole = by_definition(wide, weights, 1)[3:-3, 3:-3]
    np.testing.assert_allclose(nets.convolution(x, weights, bias, 2, border=3), whole[::2, ::2], rtol=1e-4, atol=1e-4)


def test_the_largest_of_each_window() -> None:
    x = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    assert nets.largest(x, kernel=3, stride=2)[:, :, 0].tolist() == [[10, 11], [14, 15]]


def test_shares_are_of_one_however_large_the_numbers_are() -> None:
    shares = nets.softmax(np.array([1_000, 999, -1_000], np.float32))
    assert float(shares.sum()) == pytest.approx(1)
    assert float(shares[0] / shares[1]) == pytest.approx(math.e, rel=1e-5)
