"""Files that are measured as they are: weights whose products some CPUs do not add exactly are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_files import integer_conv, integer_matmul
from saturation import paired

import qdsl
from qdsl.diag import Diagnostic

RECIPE = 'recipe asis\nmodel onnx "model.onnx"\nquantize none\ntarget ort {{ {target} }}\n'
FULL = np.full((4, 4, 1, 1), 127, np.int8)


def told(folder: Path, model: onnx.ModelProto, target: str = "threads 1") -> list[Diagnostic]:
    onnx.save(model, folder / "model.onnx")
    (folder / "asis.q").write_text(RECIPE.format(target=target), encoding="utf-8")
    result = qdsl.compile(folder / "asis.q", out=folder / "build", lock=False)
    return [found for found in result.diagnostics if found.code == "sums-inexact"]


def alternating(low: int = 0) -> Any:
    """Weights of which every other one along the channels is 0: no pair adds up."""
    codes = np.array([127, low, 127, low], np.int8).reshape(1, 4, 1, 1)
    return np.repeat(codes, 4, axis=0)


def test_neighbours_that_saturate_are_told_with_the_cures(tmp_path: Path) -> None:
    (found,) = told(tmp_path, integer_conv(FULL))
    assert found.headline == "the products of 1 weight can add up wrongly on x86 without VNNI"
    assert found.notes == ("conv: two neighbouring products can pass int16, and saturate",)
    assert any("session.x64quantprecision" in cure for cure in found.help)
    codes = FULL.reshape(4, 4).astype(np.int64).T
    activations = np.full((1, 4), 255)
    assert (paired(activations, codes) != activations @ codes).all(), "as such a CPU would"


def test_neighbours_of_0_are_exact(tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(alternating()))
    codes = alternating().reshape(4, 4).astype(np.int64).T
    activations = np.full((1, 4), 255)
    assert (paired(activations, codes) == activations @ codes).all()


def test_the_lowest_integer_is_told_of_arm(tmp_path: Path) -> None:
    codes = np.where(alternating() > 0, -128, 0).astype(np.int8)
    (found,) = told(tmp_path, integer_conv(codes))
    assert found.headline.endswith("on Arm without dot product")


@pytest.mark.parametrize("target", ["cpu x86_vnni", "cpu arm_dotprod"])
def test_cpus_with_exact_kernels_need_nothing(target: str, tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(FULL), target)


def test_bytes_of_one_sign_are_added_exactly(tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(FULL, operators=True, signed=True))
    assert told(tmp_path, integer_conv(FULL, operators=True))


def test_in_a_qdq_model_int8_activations_become_uint8(tmp_path: Path) -> None:
    assert told(tmp_path, integer_conv(FULL, signed=True))


def test_depthwise_kernels_add_otherwise(tmp_path: Path) -> None:
    assert not told(tmp_path, integer_conv(np.full((4, 1, 3, 3), 127, np.int8), group=4))


@pytest.mark.parametrize("operators", [False, True], ids=["QDQ", "operators"])
def test_but_not_with_a_zero_point_per_channel(operators: bool, tmp_path: Path) -> None:
    codes = np.full((4, 1, 3, 3), 127, np.int8)
    assert not told(tmp_path, integer_conv(codes, group=4, operators=operators, zeros=[5, 5, 5, 5]))
    assert told(tmp_path, integer_conv(codes, group=4, operators=operators, zeros=[5, 5, 5, -5]))


def test_what_dynamic_quantization_writes_is_looked_at(tmp_path: Path) -> None:
    assert told(tmp_path, integer_matmul(np.full((8, 4), 127, np.int8)))
    assert not told(tmp_path, integer_matmul(np.full((8, 4), 60, np.int8)))
