"""A step too much planted in the C of the int8 products, and the comparison with numpy that has to see it: in rounding,
padding, zero points, the ends of what is stored, the order in which sums are put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kernel_tools import KERNELS, Array, Case, Driver, build, source, tools_absent
from test_kernels import check, some_cases

from qdsl.targets.stm32.c import conv_calls

pytestmark = pytest.mark.slow

ANYWHERE = {
    "rounding upwards": ("value += 12582912.0f;", "value = value + 0.4999f + 12582912.0f;"),
    "rounding, where it is no addition": ("(whole & 0x7fffffff) >= 0x46000000", "(whole & 0x7fffffff) >= 0x42000000"),
    "rounding in fixed point": ("INT64_C(1) << 30", "INT64_C(1) << 29"),
    "ties in fixed point": ("(mask >> 1) + (value < 0)", "(mask >> 1)"),
    "zero point of the output": ("return whole + codes->zero;", "return whole + codes->zero + 1;"),
    "lowest code": ("whole = whole < low ? low : whole;", "whole = whole <= low ? low + 1 : whole;"),
    "highest code": ("whole = whole > high ? high : whole;", "whole = whole >= high ? high - 1 : whole;"),
    "padding of any window": ("memset(copy, p->x_zero, ", "memset(copy, p->x_zero + 1, "),
    "padding of rows": ("memset(copy + to, p->x_zero, ", "memset(copy + to, p->x_zero + 1, "),
    "padding by channels": ("memset(scratch, p->x_zero, ", "memset(scratch, p->x_zero + 1, "),
    "padding of strips": ("((uint32_t)p->x_zero & 255u)", "((uint32_t)(p->x_zero + 1) & 255u)"),
    "a window one column to the left": (
        "at[0] = column * p->stride - p->left;",
        "at[0] = column * p->stride - p->left - 1;",
    ),
    "the second pixel": ("int32_t second = left > 1 ? channels : 0", "int32_t second = left > 2 ? channels : 0"),
    "what is left of channels": (
        "memcpy(ends[1], b, (size_t)(channels & 3));",
        "memcpy(ends[1], b, (size_t)(channels & 3) - 1);",
    ),
    "the last column of a strip": ("for (int32_t k = 0; k < 3; k++, x +=", "for (int32_t k = 0; k < 2; k++, x +="),
}
WITH_INSTRUCTIONS = {
    "rounding towards 0": ('"vcvtr.s32.f32 s', '"vcvt.s32.f32 s'),
    "what rounding adds": ("12582912.0f + (float)(codes->zero + 128)", "12582912.0f + (float)(codes->zero + 129)"),
    "codes without a sign": ("#0x80808080", "#0x81818181"),
    "lowest code": ("below = (uint32_t)codes->low + 128u", "below = (uint32_t)codes->low + 129u"),
    "highest code": ("above = 127u - (uint32_t)codes->high", "above = 128u - (uint32_t)codes->high"),
    "zero point of the output": ("codes->zero + 128, codes->zero + 128", "codes->zero + 128, codes->zero + 129"),
    "where the loop starts": ("(uint32_t)(-depth / 2) & 7u", "(uint32_t)(-depth / 2 - 1) & 7u"),
    "the other pixel": ('"smlad r7, r9, r11, r7', '"smlad r7, r8, r11, r7'),
    "row 2 of a strip": ('"smlatt " d ", r9', '"smlabt " d ", r9'),
    "sums that pass 16 bits": ('"ssat r\\\\i, #15, r', '"ssat r\\\\i, #17, r'),
}


@pytest.mark.parametrize("fault", ANYWHERE)
def test_a_planted_step_is_seen(fault: str, tmp_path: Path) -> None:
    driver = build(tmp_path, text=source(ANYWHERE[fault]), host=())
    with pytest.raises(AssertionError, match="qdsl_"):
        check(driver, some_cases(np.random.default_rng(7), 400))


@pytest.mark.board
@pytest.mark.parametrize("fault", WITH_INSTRUCTIONS)
def test_a_planted_step_is_seen_on_an_emulated_core(fault: str, tmp_path: Path) -> None:
    absent = tools_absent()
    if absent:
        pytest.skip(absent)
    driver = build(tmp_path, "cortex-m7", text=source(WITH_INSTRUCTIONS[fault]))
    with pytest.raises(AssertionError, match=r"qdsl_|driver ended"):
        check(driver, some_cases(np.random.default_rng(7), 400))


# Which kernels a fault has to show in, each by itself: by its name in KERNELS without `qdsl_`.
IN_EACH = {
    "rounding upwards": lambda name: not name.endswith("_fixed"),
    "rounding in fixed point": lambda name: name.endswith("_fixed"),
    "zero point of the output": lambda name: True,
    "lowest code": lambda name: True,
    "highest code": lambda name: True,
    "padding of any window": lambda name: name.startswith("conv_"),
    "padding by channels": lambda name: name.startswith("depthwise_"),
    "padding of strips": lambda name: name.startswith("depthwise3_"),
}


@pytest.mark.parametrize("fault", IN_EACH)
def test_a_planted_step_is_seen_in_each_kernel(fault: str, tmp_path: Path) -> None:
    driver = build(tmp_path, text=source(ANYWHERE[fault]), host=())
    seen = wrong(driver, some_cases(np.random.default_rng(7), 528))
    assert {name for name in KERNELS if IN_EACH[fault](name.removeprefix("qdsl_"))} == seen


def test_a_zero_point_of_the_input_that_is_off_is_seen_in_each_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in the bias that is stored, not in the kernel."""
    honest = conv_calls.folded_bias
    monkeypatch.setattr(conv_calls, "folded_bias", lambda weight, bias, zero: honest(weight, bias, zero + 1))
    assert wrong(build(tmp_path, host=()), some_cases(np.random.default_rng(7), 528)) == set(KERNELS)


def wrong(driver: Driver, cases: list[tuple[Case, Array]]) -> set[str]:
    """The kernels that compute a case otherwise than numpy."""
    ran = driver.run([case for case, _ in cases])
    pairs = zip(cases, ran, strict=True)
    return {case.call.kernel for (case, expected), found in pairs if not np.array_equal(found.output, expected)}
