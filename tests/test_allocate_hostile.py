"""`allocate` given what nobody means: each is an error at its place, or the same as without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project, samples, session

import qdsl
from qdsl.diag import QdslError

SIGNED = HEAD.replace("uint8 affine", "int8 symmetric")
WITHIN = "minimize loss under size <= 20 KB"


def weights(what: str, more: str = "") -> str:
    return f"allocate weights from [{what}] {{\n  {WITHIN}\n{more}}}\n"


def compiled(folder: Path, rules: str, head: str = HEAD, **more: bool) -> qdsl.CompileResult:
    return qdsl.compile(project(folder, rules, head=head), out=folder / "build", measure=False, **more)


def refused(folder: Path, rules: str) -> list[tuple[str, str]]:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(folder, rules))
    return [(each.code, each.label) for each in caught.value.diagnostics]


def test_layers_in_float_until_their_weights_are_stored_have_ranges(tmp_path: Path) -> None:
    """ONNX Runtime leaves Conv in float that int8 tensors surround, where weights compute: it has no pair then."""
    plain = {tensor.tensor for tensor in qdsl.plan(project(tmp_path / "plain", "", head=SIGNED)).plans[0].tensors}
    found = compiled(tmp_path, weights("int8, int4 storage_only"), head=SIGNED)
    assert {tensor.tensor for tensor in found.targets[0].plan.tensors} > plain


@pytest.mark.slow
def test_their_ranges_stand_in_the_lock(tmp_path: Path) -> None:
    compiled(tmp_path, weights("int8, int4 storage_only"), head=SIGNED)
    assert compiled_again(tmp_path) == (tmp_path / "build" / "demo" / "ort" / "model.onnx").read_bytes()


def compiled_again(folder: Path) -> bytes:
    """The artifact from the lock alone."""
    (folder / "calib.npz").unlink()
    qdsl.compile(folder / "demo.q", out=folder / "again", measure=False, locked=True)
    return (folder / "again" / "demo" / "ort" / "model.onnx").read_bytes()


def test_a_pin_in_float_is_no_reason_to_quantize_nothing(tmp_path: Path) -> None:
    found = compiled(tmp_path, weights("int8, int4", '  pin "left" to float32\n')).targets[0].plan
    assert {weight.node for weight in found.weights} == {"stem", "inner", "right", "gemm"}


def test_the_opset_that_a_pin_needs_is_reached_as_for_a_choice(tmp_path: Path) -> None:
    found = compiled(tmp_path, weights("int8", '  pin "left" to int4\n')).targets[0].plan
    assert {weight.node: weight.scheme.dtype.name for weight in found.weights}["left"] == "int4"


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("allocate weights from [int8,\n  int4 per_block 2]\n", 2),
        ('layers "stem" { weights int4 per_block 2 }\n', 1),
        ('layers "stem" { weights 8 bit per_block 2 }\n', 1),
    ],
)
def test_blocks_that_a_target_has_not_are_refused_where_they_stand(tmp_path: Path, rule: str, line: int) -> None:
    """They need opset 21, which ST's tool does not read: the model is not raised for what is refused anyhow."""
    head = HEAD.replace("uint8 affine", "int8 affine").replace("target ort", "target stm32")
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, rule, head=head))
    (found,) = caught.value.diagnostics
    assert (found.code, found.span.line) == ("target-cannot", len(head.splitlines()) + line)
    assert "per_block 2 weights" in found.headline


@pytest.mark.parametrize("what", ["static", "float"])
def test_an_answer_in_float_alone_is_the_float_model_and_told(what: str, tmp_path: Path) -> None:
    """`improve` has nothing to do there, either, and no fault of its own."""
    stored = "quantize float { weights int8 storage_only }\ntarget ort\n"
    head = HEAD if what == "static" else HEAD[: HEAD.index("quantize")] + stored
    more = "improve { bias_correct; round adaptive }\n" if what == "static" else ""
    found = compiled(tmp_path, more + "allocate weights from [int8, float32]\n", head)
    assert [each.code for each in found.diagnostics] == ["allocate-float"]
    (built,) = found.targets
    made, asked = session(built.emitted.model), session(tmp_path / "demo.onnx")
    for sample in samples(tmp_path / "demo.q"):
        assert np.array_equal(*(each.run(None, dict(sample))[0] for each in (made, asked)))
    assert not built.plan.weights and not built.plan.tensors
    again = compiled_again(tmp_path)
    assert again == built.emitted.model.read_bytes()


@pytest.mark.parametrize("size", ["0", "-1", "-0.5"])
def test_an_epsilon_has_a_size(size: str, tmp_path: Path) -> None:
    more = f"  sensitivity gradient on calib {{ epsilon {size} }}\n"
    assert refused(tmp_path, weights("int8, int4", more)) == [("setting-value", "expected a number above 0")]


@pytest.mark.parametrize("what", ["int8, int8", "int4 per_block 32, int8, int4 per_block 32"])
def test_a_type_stands_once(what: str, tmp_path: Path) -> None:
    assert refused(tmp_path, weights(what)) == [("setting-value", "expected each type once")]


@pytest.mark.parametrize("what", ["weights", "layers"])
def test_there_are_types_to_choose_among(what: str, tmp_path: Path) -> None:
    (found,) = refused(tmp_path, f"allocate {what} {{ {WITHIN} }}\n")
    assert found == ("setting-value", f"expected `allocate {what} from [int8, int4]`")
