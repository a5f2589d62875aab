"""Two targets in one recipe, of which one cannot do what the recipe asks: `plan` says so, at the line that asks."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.diag import QdslError

WEIGHTS, ACTIVATIONS = "  weights int8 symmetric per_channel\n", "  activations int8 affine per_tensor\n"
BOTH = HEAD.replace("uint8", "int8").replace("target ort\n", "target ort\ntarget stm32\n")
BLOCKS = "int4 per_block 32 storage_only"
CONV = f"layers op Conv {{ weights {BLOCKS} }}"
CHOICE = f"allocate weights from [int8, {BLOCKS}] {{ minimize loss under size <= 9 KB }}"
NO = "STM32 does not compute with"
NO_INT4 = f"{NO} int4 symmetric per_block 32 storage_only weights"
NO_INT2 = f"{NO} int2 symmetric per_channel storage_only weights"
TOO_NEW = f"STM32 reads models up to opset 20, and `weights {BLOCKS}` of `target ort` raises this one to 21"


def asked(line: str, instead: str = "") -> str:
    """The recipe with a line of its own, or in the place of one of the mode."""
    return BOTH.replace(instead, f"  {line}\n") if instead else f"{BOTH}{line}\n"


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        (asked(f"weights {BLOCKS}", WEIGHTS), NO_INT4),
        (asked(CONV), NO_INT4),
        (asked("layers op Conv { weights int2 storage_only }"), NO_INT2),
        (BOTH.replace("target ort", f"target ort {{ {CONV} }}"), TOO_NEW),
        (asked(CHOICE), TOO_NEW),
        (asked("activations 6 bit", ACTIVATIONS), f"{NO} 6 bit activations"),
        (asked("activations 4 bit", ACTIVATIONS), f"{NO} 4 bit activations"),
        (asked("layers op Conv { activations 6 bit }"), f"{NO} 6 bit activations"),
        (asked('layers tensor "r" { activations 6 bit }'), f"{NO} 6 bit activations"),
    ],
)
def test_what_one_target_cannot_is_told_by_plan(tmp_path: Path, text: str, headline: str) -> None:
    recipe = project(tmp_path, head=text)
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert (found.code, found.headline) == ("target-cannot", headline)
    lines = enumerate(text.splitlines(), start=1)
    line = next(at for at, line in lines if any(word in line for word in ("int4", "int2", " bit")))
    assert found.span is not None and found.span.line == line
    assert qdsl.plan(recipe, target="ort").plans[0].target == "ort"  # the other one takes it


def test_a_model_of_a_late_opset_is_told_as_it_is(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=BOTH)
    proto = onnx.version_converter.convert_version(onnx.load(tmp_path / "demo.onnx"), 21)
    onnx.save(proto, tmp_path / "demo.onnx")
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert found.headline.startswith("the model has opset 21")


def test_weights_of_few_bits_stay_in_both(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=asked("weights 6 bit", WEIGHTS))
    assert len(qdsl.plan(recipe).plans) == 2
