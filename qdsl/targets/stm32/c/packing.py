"""Weights in the order and width in which kernels read them, and what goes with them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Requantize
from qdsl.integer.rounding import multiplier
from qdsl.targets.stm32.c.records import Constant

Array = NDArray[Any]
Stored = Literal["words", "bytes"]

FOUR = 4  # channels of the output that a kernel computes at a time, and int8 of a word


def up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def window_order(segments: int, length: int) -> list[int]:
    """Which input of a window (segments of `length` one after the other) lies at each place of the depth; -1 is none. A
    word of four gives its inputs 0 and 2, then 1 and 3; what is left of each segment follows behind all of them."""
    fours = [
        segment * length + four + inner
        for segment in range(segments)
        for four in range(0, length - length % FOUR, FOUR)
        for inner in (0, 2, 1, 3)
    ]
    ends = [segment * length + k for segment in range(segments) for k in range(length - length % FOUR, length)]
    found = fours + ends
    return found + [-1] * (up(len(found), FOUR) - len(found))


def tail_order(length: int) -> list[int]:
    """As `window_order` of one vector, whose end is filled to a word of four first."""
    return [four + inner if four + inner < length else -1 for four in range(0, length, FOUR) for inner in (0, 2, 1, 3)]


def _ordered(weight: Array, order: list[int]) -> Array:
    """[Cout up to 4, len(order)] of [Cout, depth], 0 where nothing lies."""
    filled = np.zeros((up(len(weight), FOUR), weight.shape[1] + 1), np.int8)
    filled[: len(weight), :-1] = weight
    ordered: Array = filled[:, order]
    return ordered


def paired(ordered: Array, stored: Stored) -> Array:
    """[Cout / 4, depth / 2, 8] of [Cout, depth]: of four channels the inputs two by two, as int16; as int8 of two
    channels the first input of both before the second."""
    blocks = ordered.reshape(-1, FOUR, ordered.shape[1] // 2, 2).transpose(0, 2, 1, 3)
    if stored == "words":
        return blocks.reshape(*blocks.shape[:2], 8).astype(np.int16)
    halves = blocks.reshape(*blocks.shape[:2], 2, 2, 2).transpose(0, 1, 2, 4, 3)
    return halves.reshape(*blocks.shape[:2], 8).astype(np.int8)


def product_weights(weight: Array, order: list[int], groups: int, stored: Stored) -> Constant:
    """What qdsl_product reads, of int8 [Cout, depth], group after group."""
    parts = [paired(_ordered(part, order), stored) for part in np.split(weight, groups)]
    return Constant("int16_t" if stored == "words" else "int8_t", np.stack(parts))


def depthwise_weights(weight: Array, stored: Stored) -> Constant:
    """What qdsl_depthwise reads, of int8 [C, taps]: taps two by two, the last beside 0."""
    order = list(range(weight.shape[1])) + [-1] * (weight.shape[1] % 2)
    return Constant("int16_t" if stored == "words" else "int8_t", paired(_ordered(weight, order), stored))


def strip_bytes(weight: Array) -> Constant:
    """What qdsl_depthwise3 reads as bytes, of int8 [C, 3, 3]: [C / 4, 3 columns, 3 words, 4]."""
    columns = weight.reshape(-1, FOUR, 3, 3).transpose(0, 3, 2, 1)
    pairs = columns[:, :, :2].reshape(-1, 3, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 3, 2, FOUR)
    return Constant("int8_t", np.concatenate([pairs, columns[:, :, 2:]], axis=2).astype(np.int8))


def strip_words(weight: Array, constants: Constant) -> Constant:
    """What qdsl_depthwise3 reads as words, of int8 [C, 3, 3] and `channel_constants`: biases, weights, scales of each
    four channels."""
    halves = strip_bytes(weight).values[..., [0, 2, 1, 3]].astype(np.int16)
    words = np.ascontiguousarray(halves).view(np.uint32).reshape(len(halves), -1)
    beside = constants.values.reshape(len(halves), -1)
    return Constant("uint32_t", np.concatenate([beside[:, :FOUR], words, beside[:, FOUR:]], axis=1))


def per_channel(values: Array, channels: int) -> Constant:
    """float32 for each channel of a scalar or of one for each."""
    return Constant("float", np.broadcast_to(np.asarray(values, np.float32).reshape(-1), (channels,)))


def per_group(values: Array, groups: int) -> Array:
    """[groups, Cout / groups up to 4, ...] of [Cout, ...]."""
    parts = values.reshape(groups, -1, *values.shape[1:])
    filled = np.zeros((groups, up(parts.shape[1], FOUR), *parts.shape[2:]), values.dtype)
    filled[:, : parts.shape[1]] = parts
    return filled


def folded_bias(weight: Array, bias: Array | None, zero: int) -> Array:
    """int32 bias [Cout] less what the zero point of the input adds to sums of products; wraps as sums do."""
    sums = weight.astype(np.int64).reshape(len(weight), -1).sum(axis=1)
    whole = (0 if bias is None else bias.astype(np.int64)) - zero * sums
    wrapped: Array = whole.astype(np.int32)
    return wrapped


def channel_constants(bias: Array, to: Requantize, groups: int, rounding: Literal["ort", "tflite"]) -> Constant:
    """Words [groups * ceil(Cout / groups / 4), 4 biases and 4 scales, or 8 of multipliers and exponents]."""
    scale = np.broadcast_to(to.scale.astype(np.float32), bias.shape)
    if rounding == "ort":
        words = np.ascontiguousarray(scale).view(np.uint32).reshape(-1, 1)
    else:
        words = np.array([multiplier(float(one)) for one in scale], np.int32).view(np.uint32)
    blocks = (per_group(part, groups) for part in (bias.view(np.uint32).reshape(-1, 1), words))
    fours = (block.reshape(-1, FOUR * block.shape[2]) for block in blocks)
    return Constant("uint32_t", np.concatenate(list(fours), axis=1))


def largest_steps(weight: Array, bias: Array | None, zero: int, to: Requantize) -> float:
    """How many steps of the output from its zero point any int8 input [Cout, ...] can lead to."""
    most = np.abs(weight.reshape(len(weight), -1).astype(np.float64)).sum(axis=1) * max(127 - zero, zero + 128)
    if bias is not None:
        most += np.abs(bias.astype(np.float64))
    return float((most * to.scale).max())
