"""The C of int8 products against sums in numpy: random shapes, both layouts of weights, both roundings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernel_tools import CORES, KERNELS, Case, Driver, build, tools_absent
from numpy.typing import NDArray

from qdsl.integer import rounding
from qdsl.integer.records import Conv, Dense, Encoding, IntegerGraph, Requantize, Tensor, Window
from qdsl.targets.stm32.c.conv_calls import conv_call, dense_call, over_plane
from qdsl.targets.stm32.c.records import Call, Wish

Array = NDArray[Any]
WISHES = tuple(Wish(optimize, rounds) for optimize in ("speed", "ram") for rounds in ("ort", "tflite"))

KINDS = ("pointwise", "depthwise", "strips", "any", "grouped", "dense")


def patches(x: Array, window: Window, zero: int) -> Array:
    """[OH, OW, KH, KW, C] of [H, W, C]."""
    top, left, bottom, right = window.pads
    x = np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=zero)
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    seen = np.lib.stride_tricks.sliding_window_view(x, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(0, 1))
    return seen[::sh, ::sw, :, ::dh, ::dw].transpose(0, 1, 3, 4, 2)


def sums_of(op: Conv, x: Array, zero: int) -> Array:
    seen = patches(x[0], op.window, zero).astype(np.int64) - zero
    outs, ins = len(op.weight) // op.groups, x.shape[3] // op.groups
    parts = [
        np.einsum(
            "hwijc,oijc->hwo", seen[..., g * ins : (g + 1) * ins], op.weight[g * outs : (g + 1) * outs].astype(int)
        )
        for g in range(op.groups)
    ]
    sums: Array = np.concatenate(parts, axis=2)
    return sums if op.bias is None else sums + op.bias


def codes_of(sums: Array, to: Requantize, zero: int, wish: Wish) -> Array:
    return rounding.requantized(sums.astype(np.int32), to.scale, zero, to.low, to.high, wish.rounding)


def _requantize(rng: np.random.Generator, outs: int, spread: float) -> Requantize:
    """Scales by which outputs fill int8 and pass it at both ends, a quarter by far; a quarter with ties."""
    steps = 60 if rng.random() < 0.75 else 10 ** rng.uniform(3, 5)
    scale = (rng.uniform(0.2, 2.0, outs if rng.random() < 0.8 else 1) * steps / max(spread, 1.0)).astype(np.float32)
    if rng.random() < 0.25:
        scale = np.exp2(np.floor(np.log2(scale))).astype(np.float32)
    low, high = sorted(rng.integers(-128, 128, 2).tolist())
    return Requantize(scale, *((-128, 127) if rng.random() < 0.8 or low == high else (low, high)))


def _graph(op: Conv | Dense, x: Array, out: tuple[int, ...], zeros: tuple[int, int]) -> IntegerGraph:
    tensors = {
        "x": Tensor("x", x.shape, "int8", tuple(range(x.ndim)), Encoding(0.1, zeros[0])),
        "y": Tensor("y", out, "int8", tuple(range(len(out))), Encoding(0.1, zeros[1])),
    }
    return IntegerGraph("one", ("x",), ("y",), tensors, (op,))


def _int8(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-128, 128, shape).astype(np.int8)


def _zeros(rng: np.random.Generator) -> tuple[int, int]:
    first, second = rng.choice([-128, -128, 0, 0, 127, *rng.integers(-128, 128, 3).tolist()], 2).tolist()
    return first, second


def conv_case(rng: np.random.Generator, op: Conv, shape: tuple[int, int, int], wish: Wish) -> tuple[Case, Array]:
    x = _int8(rng, 1, *shape)
    zeros = _zeros(rng)
    sums = sums_of(op, x, zeros[0])
    to = _requantize(rng, len(op.weight), float(sums.std()))
    op = Conv("n", ("x",), "y", op.weight, op.bias, op.window, to, op.groups)
    out = (1, *sums.shape)
    call = conv_call(op, _graph(op, x, out, zeros), wish)
    return Case(call, x, out), codes_of(sums, to, zeros[1], wish)[None]


def drawn(rng: np.random.Generator, kind: str) -> tuple[Conv, tuple[int, int, int]]:
    """A convolution of that kind and the input [H, W, C] that it fits."""
    groups, ins, outs = 1, int(rng.integers(1, 21)), int(rng.integers(1, 14))
    kernel = tuple(rng.integers(1, 4, 2).tolist())
    if kind == "pointwise":
        kernel = (1, 1)
    if kind == "strips":
        groups = ins = outs = int(4 * rng.integers(1, 5))
        kernel = (3, 3)
    if kind == "depthwise":
        groups = ins = outs = int(4 * rng.integers(1, 6) if rng.random() < 0.8 else rng.integers(2, 10))
        kernel = ((3, 3), (3, 3), (3, 3), (5, 5), kernel)[int(rng.integers(5))]
    if kind == "grouped":
        groups = int(rng.integers(2, 4))
        ins, outs = groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 6))
    plain = kind == "pointwise"
    strides, dilations = ((1, 1), (1, 1)) if plain else (rng.integers(1, 4, 2), rng.choice([1, 1, 1, 2], 2))
    if kind == "strips":
        strides, dilations = rng.integers(1, 3, 2), (int(rng.integers(1, 3)), 1)
    pads = (0, 0, 0, 0) if plain else tuple(rng.integers(0, 3, 4).tolist())
    window = Window(kernel, tuple(map(int, strides)), tuple(map(int, dilations)), pads)
    height, width = (
        int((size - 1) * dilation + 1 + rng.integers(0, 9))
        for size, dilation in zip(kernel, window.dilations, strict=True)
    )
    bias = rng.integers(-3000, 3000, outs).astype(np.int32) if rng.random() < 0.8 else None
    none = Requantize(np.ones(1, np.float32))
    weight = _int8(rng, outs, *kernel, ins // groups)
    return Conv("n", ("x",), "y", weight, bias, window, none, groups), (height, width, ins)


def dense_case(rng: np.random.Generator, wish: Wish) -> tuple[Case, Array]:
    ins, outs, zeros = int(rng.integers(1, 70)), int(rng.integers(1, 13)), _zeros(rng)
    x = _int8(rng, *((1, ins), (3, ins), (1, 2, 2, ins))[int(rng.integers(3))])
    weight, bias = _int8(rng, outs, ins), rng.integers(-999, 999, outs).astype(np.int32)
    sums = (x.astype(np.int64) - zeros[0]) @ weight.T.astype(np.int64) + bias
    to = _requantize(rng, outs, float(sums.std()))
    op = Dense("n", ("x",), "y", weight, bias, to)
    call = dense_call(op, _graph(op, x, sums.shape, zeros), wish)
    flat = x.reshape(-1, ins)
    return Case(call, flat, (len(flat), outs)), codes_of(sums, to, zeros[1], wish).reshape(-1, outs)


def some_cases(rng: np.random.Generator, count: int) -> list[tuple[Case, Array]]:
    cases = []
    for i in range(count):
        wish = WISHES[i % len(WISHES)]
        kind = KINDS[i // len(WISHES) % len(KINDS)]
        cases.append(dense_case(rng, wish) if kind == "dense" else conv_case(rng, *drawn(rng, kind), wish))
    return cases


def check(driver: Driver, cases: list[tuple[Case, Array]]) -> None:
    for (case, expected), ran in zip(cases, driver.run([case for case, _ in cases]), strict=True):
        assert np.array_equal(ran.output, expected), _told(case.call)


def _told(call: Call) -> str:
    numbers = {name: value for name, value in call.parameters if isinstance(value, int)}
    return f"{call.kernel} {call.window} {numbers}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """Under sanitizers, no warning let through."""
    return build(tmp_path_factory.mktemp("host"))


def test_kernels_equal_sums_in_numpy(host: Driver) -> None:
    cases = some_cases(np.random.default_rng(7), 264)
    assert {case.call.kernel for case, _ in cases} == set(KERNELS)
    check(host, cases)


@pytest.mark.slow
@pytest.mark.board
@pytest.mark.parametrize("core", CORES)
def test_kernels_equal_sums_on_emulated_cores(tmp_path: Path, core: str) -> None:
    """The DSP extension, an FPU of either kind, neither."""
    absent = tools_absent()
    if absent:
        pytest.skip(absent)
    check(build(tmp_path, core), some_cases(np.random.default_rng(11), 600))


def test_outputs_may_lie_over_inputs_as_far_as_a_call_says(host: Driver) -> None:
    rng = np.random.default_rng(5)
    cases = [pair for pair in some_cases(rng, 200) if pair[0].x.size > 1]
    overlapping = [(over_input(case), expected) for case, expected in cases]
    assert sum(case.overlap < np.prod(case.out_shape) for case, _ in overlapping) > 50
    check(host, overlapping)


def over_input(case: Case) -> Case:
    (behind,) = case.call.behind
    assert behind is not None
    return replace(case, overlap=behind)


def test_a_pointwise_convolution_runs_over_a_plane_as_one_row(host: Driver) -> None:
    rng, cases = np.random.default_rng(9), []
    for wish in WISHES * 3:
        case, expected = conv_case(rng, *drawn(rng, "pointwise"), wish)
        flat = case.x.reshape(-1, case.x.shape[3])
        call = over_plane(case.call, case.x.shape[1])
        cases.append((Case(call, flat, (len(flat), expected.shape[3])), expected.reshape(len(flat), -1)))
    check(host, cases)
