"""`qdsl audit MODEL --recipe R`: what the recipe asks and the file lacks or has otherwise, and the reverse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from structure_graphs import Net

import qdsl.api
from qdsl.auditing.finding import Finding
from qdsl.auditing.formats.terminal import render
from qdsl.diag import QdslError, Severity

STATIC = "quantize static { weights int8 symmetric per_channel; activations uint8 affine; calibrate minmax on calib }"


def model(folder: Path, wide: int = 8) -> None:
    """x -> conv1 -> relu1 -> conv2 -> add(relu1) -> concat(conv3) -> gap -> head, with samples."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), wide, kernel=3, name="conv1")
    x = net.op("Relu", x, name="relu1")
    y = net.op("Add", net.conv(x, wide, kernel=3, name="conv2"), x, name="add")
    y = net.op("Concat", y, net.conv(y, wide, name="conv3"), name="concat", axis=1)
    y = net.op("Flatten", net.op("GlobalAveragePool", y, name="gap"), name="flat")
    proto = net.model(net.op("Gemm", y, net.constant(2 * wide, 4), net.constant(4), name="head"))
    random = np.random.default_rng(5)
    for stored in proto.graph.initializer:
        value = onnx.numpy_helper.to_array(stored)
        drawn = (random.standard_normal(value.shape) * 0.2).astype(value.dtype)
        stored.CopyFrom(onnx.numpy_helper.from_array(drawn, stored.name))
    onnx.save(proto, folder / "net.onnx")
    np.savez(folder / "calib.npz", x=random.standard_normal((4, 3, 8, 8)).astype(np.float32))


def recipe(folder: Path, *lines: str, name: str = "net", mode: str = STATIC) -> Path:
    path = folder / f"{name}.q"
    head = [f"recipe {name}", 'model onnx "net.onnx"', 'data calib from npz "calib.npz"', mode, "target ort"]
    path.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    return path


def held(file: Path, against: Path) -> tuple[Finding, ...]:
    """What file and recipe do not have in common."""
    (section,) = qdsl.api.audit(file, recipe=against).report.sections
    return tuple(each for each in section.findings if each.rule in ("asked_and_absent", "not_asked"))


def places(found: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(each.rule, each.place.name) for each in found}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    model(folder)
    qdsl.api.compile(recipe(folder), out=folder / "build", measure=False)
    return folder


def artifact(folder: Path, name: str = "net") -> Path:
    return folder / "build" / name / "ort" / "model.onnx"


def test_a_file_is_what_its_own_recipe_asks(built: Path) -> None:
    report = qdsl.api.audit(artifact(built), recipe=built / "net.q").report
    assert held(artifact(built), built / "net.q") == ()
    assert report.sections[0].unmatched == 0


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        ("quantize dynamic", []),
        ("quantize float { weights int8 per_channel storage_only }", []),
        (STATIC, ['keep op Conv and not "conv1" in float32']),
        (STATIC, ["place { share scale across op Add }"]),
        (STATIC, ['layers "conv2" { weights int8 per_tensor; range [-2, 2] }']),
        (STATIC, ['layers "conv2" { weights 6 bit }']),
        (STATIC.replace("uint8 affine", "uint8 symmetric"), []),
        ("quantize float { weights float16; activations float16 }", []),
    ],
)
def test_whatever_the_recipe_its_file_is_what_it_asks(mode: str, lines: list[str], tmp_path: Path) -> None:
    model(tmp_path, wide=64 if mode == "quantize dynamic" else 8)
    path = recipe(tmp_path, *lines, mode=mode)
    qdsl.api.compile(path, out=tmp_path / "build", measure=False)
    assert held(artifact(tmp_path), path) == ()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('keep "conv2" in float32', {("not_asked", "conv2")}),
        ('layers "conv2" { weights int8 per_tensor }', {("asked_and_absent", "conv2")}),
        ('layers "conv2" { weights uint8 affine }', {("asked_and_absent", "conv2")}),
        ('layers "conv2" { range [-9, 9] }', {("asked_and_absent", "add")}),
        ('layers "conv2" { activations int8 symmetric }', {("asked_and_absent", "add")}),
    ],
)
def test_one_changed_line_tells_the_nodes_that_it_changes(line: str, found: set[tuple[str, str]], built: Path) -> None:
    against = recipe(built, line, name="changed")
    differences = held(artifact(built), against)
    assert places(differences) == found
    for each in differences:
        assert each.line is not None and each.line.file == str(against) and each.line.line == 6


def test_a_pair_that_is_gone_is_told_with_its_readers(built: Path, tmp_path: Path) -> None:
    proto = onnx.load(artifact(built))
    reader = next(node for node in proto.graph.node if node.name == "conv2")
    behind = next(node for node in proto.graph.node if reader.input[0] in node.output)
    before = next(node for node in proto.graph.node if behind.input[0] in node.output)
    reader.input[0] = before.input[0]
    onnx.save(proto, tmp_path / "bare.onnx")
    (found,) = held(tmp_path / "bare.onnx", built / "net.q")
    assert (found.rule, found.place.name, found.place.port) == ("asked_and_absent", "conv2", 0)
    assert found.message.endswith("and `conv2` reads floats")


def test_scales_that_were_to_be_shared_are_told_where_they_differ(built: Path) -> None:
    against = recipe(built, "place { share scale across op Add }", name="shared")
    found = held(artifact(built), against)
    assert any("one scale over" in each.message for each in found)


def test_what_the_file_calls_otherwise_is_counted_and_not_guessed(built: Path, tmp_path: Path) -> None:
    proto = onnx.load(artifact(built))
    next(node for node in proto.graph.node if node.name == "conv2").name = "another"
    onnx.save(proto, tmp_path / "renamed.onnx")
    (section,) = qdsl.api.audit(tmp_path / "renamed.onnx", recipe=built / "net.q").report.sections
    # Its weight and bias; the pair before it is found by the name of its tensor.
    assert section.unmatched == 2 and not section.findings_of("asked_and_absent")


def test_a_recipe_of_another_model_is_told_as_that(built: Path, tmp_path: Path) -> None:
    proto = onnx.load(artifact(built))
    for node in proto.graph.node:
        node.name = f"other/{node.name}"
    onnx.save(proto, tmp_path / "other.onnx")
    report = qdsl.api.audit(tmp_path / "other.onnx", recipe=built / "net.q").report
    assert report.sections[0].matched is False and "is about another model" in render(report)
    own = qdsl.api.audit(artifact(built), recipe=built / "net.q").report
    assert own.sections[0].matched is True and "held against the file" in render(own)


def test_a_float_file_lacks_all_that_is_asked(built: Path) -> None:
    found = held(built / "net.onnx", built / "net.q")
    assert {"conv1", "conv2", "conv3", "head"} <= {each.place.name for each in found}
    assert {each.rule for each in found} == {"asked_and_absent"}


def test_a_recipe_that_decides_nothing_only_waives(built: Path) -> None:
    against = recipe(built, name="waivers", mode="quantize none")
    report = qdsl.api.audit(artifact(built), recipe=against).report
    assert report.sections[0].unmatched is None


def test_a_recipe_with_errors_is_told_as_by_plan(built: Path) -> None:
    against = recipe(built, 'layers "conv9" { weights int8 }', name="wrong")
    with pytest.raises(QdslError, match="selector-empty"):
        qdsl.api.audit(artifact(built), recipe=against)


def test_float16_is_held_against_what_nodes_write(built: Path) -> None:
    half = recipe(built, name="half", mode="quantize float { weights float16; activations float16 }")
    qdsl.api.compile(half, out=built / "build", measure=False)
    named = [each for each in held(artifact(built), half) if "float16" in each.message]
    assert [each.rule for each in named] == ["asked_and_absent"] and len(named[0].also) == 8
    named = [each for each in held(artifact(built, "half"), built / "net.q") if "float16" in each.message]
    assert {each.rule for each in named} == {"not_asked"}
    mixed = recipe(built, 'keep "conv2" in float16', name="mixed")
    assert ("asked_and_absent", "conv2") in places(held(artifact(built), mixed))


TENSORRT = "quantize static { weights int8 per_channel; activations int8 symmetric; calibrate minmax on calib }"


def test_a_half_quantized_layer_is_an_error_at_the_line_that_quantizes_it(tmp_path: Path) -> None:
    """Of a file of the recipe in which one Conv lost the pair before it; its line is the later rule."""
    model(tmp_path)
    path = recipe(tmp_path, 'layers "conv3" { weights int8 per_tensor }', mode=TENSORRT)
    path.write_text(path.read_text(encoding="utf-8").replace("target ort", "target tensorrt"), encoding="utf-8")
    made = qdsl.api.compile(path, out=tmp_path / "build", measure=False).targets[0].emitted.model
    proto = onnx.load(made)
    writers = {name: node for node in proto.graph.node for name in node.output}
    for name in ("conv2", "conv3"):
        conv = next(node for node in proto.graph.node if node.name == name)
        conv.input[0] = writers[writers[conv.input[0]].input[0]].input[0]
    onnx.save(proto, tmp_path / "half.onnx")
    report = qdsl.api.audit(tmp_path / "half.onnx", recipe=path).report
    told = {each.place.name: each for each in report.findings if each.rule == "half_quantized_op"}
    lines = {name: None if each.line is None else each.line.line for name, each in told.items()}
    assert lines == {"conv2": 4, "conv3": 6}
    assert {each.severity for each in told.values()} == {Severity.ERROR}
    assert "error[half_quantized_op] (2)\n  net.q:4: `conv2` has int8 weights and reads floats" in render(report)
