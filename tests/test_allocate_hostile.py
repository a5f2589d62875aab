"""`allocate` given what nobody means: each is an error at its place, or the same as without it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project, residual_net, samples, session

import qdsl
from qdsl.allocate.told import words
from qdsl.diag import QdslError
from qdsl.spec.allocation import Held, Trial

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


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("[int8] { minimize macs under size <= 1 MB }", "allocate-types"),
        ("[float32] { minimize macs under size <= 1 MB }", "allocate-types"),
        ("[int8, float32]", "allocate-goal"),
        ("[int8, float32] { minimize macs under size <= 1 MB; pin all to int4 }", "allocate-pin"),
    ],
)
def test_layers_that_cannot_be_chosen_are_told_by_the_plan(what: str, code: str, tmp_path: Path) -> None:
    assert [found for found, _ in refused(tmp_path, f"allocate layers from {what}\n")] == [code]


def test_the_plan_tells_of_types_that_no_layer_gets(tmp_path: Path) -> None:
    found = qdsl.plan(
        project(tmp_path, "allocate layers from [int8, int16, float32] { minimize macs under size <= 1 MB }\n")
    )
    assert [each.code for each in found.diagnostics] == ["allocate-dominated"]


def test_a_size_that_the_help_names_can_be_written(tmp_path: Path) -> None:
    rules = weights("int8, int4").replace("20 KB", "1 KB")
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, rules))
    (found,) = caught.value.diagnostics
    bound = found.help[0].split("`")[1]
    assert qdsl.plan(project(tmp_path, rules.replace("size <= 1 KB", bound))).plans


def test_the_nearest_to_a_share_is_told_as_one(tmp_path: Path) -> None:
    rules = "allocate activations from [8 bit, 6 bit] { minimize loss under bops ratio <= 1 % }\n"
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, rules))
    (found,) = caught.value.diagnostics
    assert re.search(r"the nearest has \d+(\.\d+)? %$", found.headline)


def labelled(folder: Path, bound: str) -> Path:
    """A recipe with data whose classes have numbers and no names."""
    head = HEAD.replace("quantize", 'data dev from npz "dev.npz" { label "label" }\nquantize', 1)
    recipe = project(folder, f"allocate weights from [int8] {{ minimize loss under {bound} on dev }}\n", head=head)
    drawn = np.random.default_rng(4)
    arrays = drawn.standard_normal((5, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "dev.npz", x=arrays, label=np.arange(5))
    return recipe


@pytest.mark.slow
def test_a_class_without_a_name_is_called_by_its_number(tmp_path: Path) -> None:
    found = qdsl.compile(labelled(tmp_path, 'f1 "1" drop <= 99 pp'), out=tmp_path / "build", measure=False)
    assert found.targets


def test_a_class_that_nothing_is_of_is_told_at_its_bound(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.compile(labelled(tmp_path, 'f1 "crack" drop <= 1 pp'), out=tmp_path / "build", measure=False)
    (found,) = caught.value.diagnostics
    assert (found.code, found.span.line) == ("evaluate-class", len(HEAD.splitlines()) + 2)
    assert found.help == ("its classes are called `0`, `1`, `2`, `3`",)


def test_an_output_that_is_not_there_is_told_by_the_plan(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(labelled(tmp_path, 'agreement "z" >= 90 %'))
    assert [each.code for each in caught.value.diagnostics] == ["evaluate-class"]


def test_a_torch_that_cannot_be_loaded_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(name: str) -> None:
        raise OSError("libtorch_cpu.so: cannot open shared object file")

    def begun(*words: object, **more: object) -> None:
        raise AssertionError("calibration has begun")

    monkeypatch.setattr("qdsl.train.extra.has_torch", lambda: True)
    monkeypatch.setattr("qdsl.train.extra.import_module", loaded)
    monkeypatch.setattr("qdsl.steps.ranging.measure", begun)
    with pytest.raises(QdslError) as caught:
        compiled(tmp_path, weights("int8, int4", "  sensitivity gradient on calib\n"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.span.line) == ("torch-absent", len(HEAD.splitlines()) + 3)
    assert "libtorch_cpu.so" in found.headline


def test_a_layer_that_writes_nan_has_no_loss(tmp_path: Path) -> None:
    """Of a build without ranges nothing else looks at what layers write."""
    proto = residual_net()
    proto.graph.node[1].op_type = "Log"
    head = HEAD[: HEAD.index("quantize")] + "quantize float { weights int8 storage_only }\ntarget ort\n"
    recipe = project(tmp_path, weights("int8, int4"), head=head, proto=proto)
    with pytest.raises(QdslError) as caught:
        qdsl.compile(recipe, out=tmp_path / "build", measure=False)
    assert [each.code for each in caught.value.diagnostics] == ["allocate-loss"]


def test_figures_of_bounds_are_told_in_their_units() -> None:
    held = (
        Held("latency <= 1 ms", 0.00125, 0.0025, -0.25, False),
        Held("size <= 2 MB", 2397289.0, 9e6, -0.2, False),
        Held("throughput >= 3 Hz", float("nan"), None, None, None),
    )
    told = words(Trial({}, "", held))
    assert "1.25 ms of 2.5 ms (broken)" in told and "2,397,289 of 9,000,000 (broken)" in told
    assert "throughput >= 3 Hz: (not measured)" in told
