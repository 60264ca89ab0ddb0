"""The few layers that small networks for pictures are made of, in numpy.

Knows: arrays of height x width x channels. Must not know: what a network is for, where its weights come from.

A network of this size takes about as long to run as its picture takes to decode, so no runtime is needed for it: nothing is
compiled, no thread is started, and a confined process loads nothing but numpy.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]


class Layer(NamedTuple):
    """Weights and what is added afterwards, for each channel that comes out."""

    weights: Array
    bias: Array


def padded(x: Array, kernel: int, stride: int) -> Array:
    """With a border of zeros such that a convolution gives ceil(side / stride): the odd pixel goes to the far side."""
    borders = []
    for side in x.shape[:2]:
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        borders.append((missing // 2, missing - missing // 2))
    return np.pad(x, (*borders, (0, 0)))


def convolution(x: Array, weights: Array, bias: Array, stride: int = 1, border: int | None = None) -> Array:
    """`weights` are kernel x kernel x channels in x channels out; `border` is one of so many zeros on every side instead."""
    kernel = weights.shape[0]
    if kernel == 1:
        points: Array = x[::stride, ::stride] @ weights[0, 0] + bias
        return points
    x = padded(x, kernel, stride) if border is None else np.pad(x, ((border, border), (border, border), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(0, 1))
    flat = windows[::stride, ::stride].transpose(0, 1, 3, 4, 2)
    height, width = flat.shape[:2]
    product: Array = flat.reshape(height * width, -1) @ weights.reshape(-1, weights.shape[-1]) + bias
    return product.reshape(height, width, -1)


def largest(x: Array, kernel: int, stride: int) -> Array:
    """The largest number in each window; none may be negative, since the border is of zeros."""
    windows = np.lib.stride_tricks.sliding_window_view(padded(x, kernel, stride), (kernel, kernel), axis=(0, 1))
    found: Array = windows[::stride, ::stride].max((3, 4))
    return found


def depthwise(x: Array, weights: Array, stride: int = 1) -> Array:
    """Each channel by a kernel of its own: `weights` are kernel x kernel x channels."""
    kernel = weights.shape[0]
    height, width = (-(-side // stride) for side in x.shape[:2])
    x = padded(x, kernel, stride)
    total = np.zeros((height, width, x.shape[2]), np.float32)
    for row in range(kernel):
        for column in range(kernel):
            part = x[row : row + (height - 1) * stride + 1 : stride, column : column + (width - 1) * stride + 1 : stride]
            total += part * weights[row, column]
    return total


def softmax(x: Array) -> Array:
    """Shares of one."""
    powers: Array = np.exp(x - x.max())
    powers /= powers.sum()
    return powers
