"""Bad and hostile input through the command line: what a user reads, kept as goldens, and that nothing is written.

Each case is a folder with a recipe `bad.q`. The command ends with exit code 1, shows no traceback, writes nothing, and
names for each error its place and a cure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bad_setups import after_conv, conv, noise, photos, save, two_inputs
from data_cases import bomb, graph_of, picture
from graph_cases import with_external
from onnx import TensorProto, helper

from qdsl.cli import main

Setup = Callable[[Path], object]


def text(
    more: str = "",
    *,
    model: str = 'model onnx "model.onnx"',
    data: str = 'data calib from npz "calib.npz"',
    calibrate: str = "minmax on calib",
    target: str = "target ort",
) -> str:
    """The plainest static recipe, one statement of which is changed."""
    return f"""recipe bad
{model}
{data}
quantize static {{
  weights     int8 per_channel
  activations uint8
  calibrate   {calibrate}
}}
{target}
{more}
""".replace("\n\n", "\n")


PHOTOS = 'data calib from images "photos"\ninput { resize 8 stretch }'


@dataclass(frozen=True)
class Case:
    """`setup` fills the folder; without a recipe there is no bad.q. `placeless` errors have no line to point at."""

    verb: str
    recipe: str | None
    setup: Setup = lambda folder: None
    placeless: bool = False
    words: tuple[str, ...] = ()


# ---- what stands in the folder ---------------------------------------------------------------------------------------


def good(folder: Path) -> None:
    """The small Conv model and samples for it."""
    save(conv(), folder)
    noise(folder)


def also(*writers: Setup) -> Setup:
    def write(folder: Path) -> None:
        for writer in writers:
            writer(folder)

    return write


def bytes_of(content: bytes) -> Setup:
    return also(good, lambda folder: (folder / "model.onnx").write_bytes(content))


def cut_model(folder: Path) -> None:
    good(folder)
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-30])


def jpeg_model(folder: Path) -> None:
    good(folder)
    picture(folder / "photo.jpg")
    (folder / "photo.jpg").rename(folder / "model.onnx")


def folder_model(folder: Path) -> None:
    (folder / "model.onnx").mkdir()


def model_of(make: Callable[[], object]) -> Setup:
    return also(noise, lambda folder: save(make(), folder))  # type: ignore[arg-type]


def huge_dims() -> object:
    model = conv()
    model.graph.initializer[0].dims[0] = 2**40
    return model


def huge_input() -> object:
    model = conv()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**40
    return model


def new_opset() -> object:
    model = conv()
    model.opset_import[0].version = 99
    return model


def no_nodes() -> object:
    return helper.make_model(
        helper.make_graph(
            [],
            "none",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def only_tanh() -> object:
    return graph_of([helper.make_node("Tanh", ["images"], ["y"], name="tanh1")], ["y"])


def takes_tokens() -> object:
    """An embedding: int64 tokens in."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["g"], name="gather1"),
        helper.make_node("MatMul", ["g", "w"], ["y"], name="matmul1"),
    ]
    weights = {"table": np.ones((10, 4), np.float32), "w": np.ones((4, 2), np.float32)}
    model = graph_of(nodes, ["y"], constants=weights, inputs=("tokens",), shape=(1, 6))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


def external(location: str) -> Setup:
    return also(noise, lambda folder: with_external(folder / "model.onnx", location))


def linked_external(folder: Path) -> None:
    secret = folder.parent / f"{folder.name}_secret"
    secret.write_bytes(b"\0" * 1000)
    (folder / "weights.bin").symlink_to(secret)
    with_external(folder / "model.onnx", "weights.bin")


def nan_rows(folder: Path) -> None:
    good(folder)
    values = np.ones((3, 3, 8, 8), np.float32)
    values[1, 2, 3, 4] = np.nan
    np.savez(folder / "calib.npz", images=values)


def chain(folder: Path) -> None:
    """bad.q extends chain_0.q extends ... 1,000 files."""
    for index in range(1000):
        (folder / f"chain_{index}.q").write_text(f'recipe chain_{index}\nextends "chain_{index + 1}.q"\n')


def cycle(folder: Path) -> None:
    (folder / "base.q").write_text('recipe base\nextends "bad.q"\n')


# ---- cases: one golden each ------------------------------------------------------------------------------------------

LANGUAGE = {
    "unknown_keyword": Case("check", text("layrs op Conv { weights int8 }"), good),
    "unknown_unit": Case("check", text(target="target ort { require size <= 3 MiBs }"), good),
    "unknown_metric": Case("check", text("evaluate fidelity on calib { measure cosin }"), good),
    "unknown_data": Case("check", text(calibrate="minmax on clib"), good),
    "deep_parentheses": Case("check", text("keep " + "(" * 20_000 + "all" + ")" * 20_000 + " in float32"), good),
    "deep_nots": Case("check", text("keep " + "not " * 20_000 + "all in float32"), good),
    "extends_chain": Case("check", 'recipe bad\nextends "chain_0.q"\n', chain),
    "extends_cycle": Case("check", 'recipe bad\nextends "base.q"\n', cycle),
    "extends_missing": Case("check", 'recipe bad\nextends "bse.q"\n', lambda folder: (folder / "base.q").touch()),
    "extends_a_folder": Case("check", 'recipe bad\nextends "."\n'),
    "recipe_missing": Case("check", None, lambda folder: (folder / "bat.q").touch(), placeless=True),
    "recipe_is_a_folder": Case("check", None, lambda folder: (folder / "bad.q").mkdir(), placeless=True),
    "files_missing": Case("check", text(), lambda folder: (folder / "modle.onnx").touch()),
    "no_model_statement": Case("plan", text(model=""), good),
    "calibrate_method": Case("compile", text(calibrate="entropi on calib"), good),
}

SELECTORS = {
    "unknown_op": Case("plan", text("keep op Covn in float32"), good),
    "selector_empty": Case("plan", text('keep under "/head" in float32'), good),
    "selector_name_empty": Case("plan", text('keep "conv2" in float32'), good),
    "wrong_expect": Case("plan", text("keep op Conv expect 3 in float32"), good),
    "opposite_requests": Case("plan", text("keep op Conv in float32\nlayers op Conv { weights int4 }"), good),
    "nothing_to_quantize": Case("plan", text(), model_of(only_tanh)),
    "no_nodes": Case("compile", text(), model_of(no_nodes)),
    "unknown_target_word": Case("plan", text(), good, words=("--target", "tensorrt")),
}

MODELS = {
    "model_missing": Case("plan", text(), lambda folder: (folder / "modle.onnx").touch()),
    "model_is_text": Case("plan", text(), bytes_of(b"version https://git-lfs.github.com/spec/v1\n")),
    "model_is_a_jpeg": Case("plan", text(), jpeg_model),
    "model_is_empty": Case("plan", text(), bytes_of(b"")),
    "model_is_a_folder": Case("plan", text(), folder_model),
    "model_is_cut": Case("plan", text(), cut_model),
    "dims_of_2_to_40": Case("plan", text(), model_of(huge_dims)),
    "input_dim_of_2_to_40": Case("compile", text(), model_of(huge_input)),
    "opset_too_new": Case("plan", text(), model_of(new_opset)),
    "opset_too_old": Case("plan", text(), model_of(lambda: conv(opset=6))),
    "external_absolute": Case("plan", text(), external("/etc/passwd")),
    "external_above": Case("plan", text(), external("../secret")),
    "external_linked_outside": Case("plan", text(), linked_external),
    "external_missing": Case("plan", text(), external("weights.bin")),
    "nan_in_weights": Case("compile", text(), model_of(lambda: conv(weight=np.nan))),
    "unknown_operator": Case(
        "compile",
        text(),
        after_conv(helper.make_node("Nobody", ["y"], ["z"], name="nobody1", domain="none.such")),
    ),
    "input_block_unknown": Case("plan", text('input "imagse" { rescale 1/255 }'), good),
    "input_shape_fixed": Case("plan", text("input { shape [1, 3, 16, 16] }"), good),
}

DATA = {
    "data_missing": Case("compile", text(), lambda folder: save(conv(), folder)),
    "data_empty": Case("compile", text(data=PHOTOS), also(good, lambda folder: (folder / "photos").mkdir())),
    "image_bomb": Case("compile", text(data=PHOTOS), also(good, lambda folder: bomb(folder / "photos/a.png"))),
    "image_broken": Case(
        "compile",
        text(data=PHOTOS),
        also(good, photos, lambda folder: (folder / "photos/b.png").write_bytes(b"no picture")),
    ),
    "wrong_size": Case("compile", text(data=PHOTOS.replace("8", "16")), also(good, photos)),
    "wrong_layout": Case("compile", text(data=PHOTOS.replace("stretch", "stretch; layout nhwc")), also(good, photos)),
    "wrong_array": Case(
        "compile", text(), also(good, lambda folder: np.savez(folder / "calib.npz", images=np.zeros((2, 3, 9, 9))))
    ),
    "nan_in_data": Case("compile", text(), nan_rows),
    "two_inputs": Case("compile", text(data=PHOTOS), two_inputs),
    "two_inputs_npz": Case(
        "compile",
        text(),
        also(two_inputs, lambda folder: np.savez(folder / "calib.npz", a=np.zeros((2, 3, 8, 8), np.float32))),
    ),
    "int64_input": Case(
        "compile",
        text(),
        also(model_of(takes_tokens), lambda folder: np.savez(folder / "calib.npz", tokens=np.ones((2, 6)) / 2)),
    ),
    "npz_is_text": Case("compile", text(), also(good, lambda folder: (folder / "calib.npz").write_text("hello"))),
}

CASES = {**LANGUAGE, **SELECTORS, **MODELS, **DATA}


def run(case: Case, folder: Path, *more: str) -> int:
    return main([case.verb, "bad.q", *case.words, *more])


def prepared(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Fill the folder and stand in it; returns what is there."""
    case.setup(folder)
    if case.recipe is not None:
        (folder / "bad.q").write_text(case.recipe, encoding="utf-8")
    monkeypatch.chdir(folder)
    return set(folder.rglob("*"))


@pytest.mark.parametrize("name", CASES)
def test_what_a_user_reads(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
) -> None:
    case = CASES[name]
    before = prepared(case, tmp_path, monkeypatch)
    assert run(case, tmp_path) == 1
    captured = capfd.readouterr()
    assert set(tmp_path.rglob("*")) == before, "nothing is written"
    log = [line for line in captured.out.splitlines() if not line.startswith("model  ")]
    assert not log, "stdout has the log of what went well before, and no result"
    for word in ("Traceback", "internal fault", str(tmp_path)):
        assert word not in captured.err
    told = [line for line in captured.err.splitlines() if not line.startswith("model  ")]  # what went well before
    golden(f"bad/{name}.txt", "\n".join(told))


@pytest.mark.parametrize("name", CASES)
def test_every_error_has_a_place_and_a_cure(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    prepared(case, tmp_path, monkeypatch)
    assert run(case, tmp_path, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    found = document["recipes"]["bad.q"] if case.verb == "check" else document["diagnostics"]
    errors = [one for one in found if one["severity"] == "error"]
    assert errors
    for one in errors:
        assert one["help"], one["headline"]
        assert 10 < len(one["headline"]) < 160, one["headline"]
        assert not one["headline"].endswith("."), one["headline"]
        assert case.placeless or one["span"] is not None, one["headline"]


def test_the_same_is_told_as_text_and_as_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = LANGUAGE["unknown_unit"]
    prepared(case, tmp_path, monkeypatch)
    run(case, tmp_path)
    shown = capsys.readouterr().err
    run(case, tmp_path, "--json")
    captured = capsys.readouterr()
    (one,) = json.loads(captured.out)["recipes"]["bad.q"]
    span = one["span"]
    assert f"error[{one['code']}]: {one['headline']}" in shown
    assert f"--> {span['file']}:{span['line']}:{span['column']}" in shown
    assert all(f"help: {cure}" in shown for cure in one["help"])
    assert captured.err == ""


def test_goldens_and_cases_are_the_same() -> None:
    stored = {path.stem for path in (Path(__file__).parent / "goldens" / "bad").glob("*.txt")}
    assert stored == set(CASES)
