"""C that calls CMSIS-NN computes what the fixed-point interpreter does, with what stands in for a checkout of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_zoo import Zoo, placed
from test_stm32_target import compiled, seen

from qdsl.diag import QdslError
from qdsl.integer import records as r
from qdsl.integer.interpret import run as interpret
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.cmsis_calls import cmsis_call
from qdsl.targets.stm32.c.records import Wish
from qdsl.targets.stm32.c.writing import CFiles, write_c
from qdsl.targets.stm32.emulated.cmsis_nn import PLACE, Checkout, checkout
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.memory.planning import plan

HERE = Path(__file__).resolve().parent / "cmsis_nn"
CC = host.compiler()
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
CHECKED = (*STRICT, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WISH = Wish("speed", "tflite", "cmsis_nn")
needs_cc = pytest.mark.skipif(CC is None, reason="no C compiler on this computer")
needs_make = pytest.mark.skipif(CC is None or shutil.which("make") is None, reason="no C compiler, or no make")


def sums(seed: int) -> Zoo:
    """Convolutions and matrices that become int8."""
    zoo = Zoo(seed)
    for _ in range(6):
        zoo.convs()
    zoo.ops = [op for op in zoo.ops if isinstance(getattr(op, "to", None), r.Requantize)]
    kept = {name for op in zoo.ops for name in (*op.inputs, op.output)}
    zoo.tensors = {name: tensor for name, tensor in zoo.tensors.items() if name in kept}
    return zoo


def edges() -> Zoo:
    """What its functions do not take, and what they take otherwise than it stands."""
    zoo = Zoo(1)
    for shape, window in (
        ((1, 1, 12, 5), r.Window((1, 4), (1, 2), (1, 2), (0, 3, 0, 2))),  # one row: stood upright
        ((1, 7, 6, 5), r.Window((1, 1), (1, 1), (1, 1), (0, 0, 1, 1))),  # on the padding: own
        ((1, 7, 6, 5), r.Window((1, 1), (2, 2), (2, 3))),
    ):
        x = zoo.feed(*shape)
        weight = zoo.weight(6, *window.kernel, 5)
        out = zoo.tensor(1, *zoo.after(*shape[1:3], window), 6)
        zoo.add(r.Conv, (x,), out, weight, zoo.bias(6), window, zoo.to(6, weight[0].size))
    for window in (
        r.Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        r.Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 2)),  # its function for 3 x 3 would read beside the row: own
        r.Window((2, 3), (1, 2), (1, 1), (0, 0, 2, 0)),  # a window on the padding alone: own
        r.Window((5, 4), (2, 1), (1, 1), (2, 3, 4, 1)),
        r.Window((3, 2), (1, 1), (2, 2), (2, 1, 0, 1)),
    ):
        x = zoo.feed(1, 9, 8, 8)
        out = zoo.tensor(1, *zoo.after(9, 8, window), 8)
        weight = zoo.weight(8, *window.kernel, 1)
        zoo.add(r.Conv, (x,), out, weight, zoo.bias(8), window, zoo.to(8, weight[0].size), 8)
    return zoo


def written(zoo: Zoo, folder: Path, wish: Wish = WISH) -> CFiles:
    graph = zoo.graph()
    return write_c(graph, placed(graph, wish), folder)


def program(files: CFiles, out: Path, library: Path = HERE, more: tuple[str, ...] = STRICT) -> Path:
    it = Checkout(library)
    out.mkdir(exist_ok=True)
    made = it.archive((str(CC),), out)
    host.build(files.folder, out / "host", cc=str(CC), more=(*more, *it.include), linked=(str(made),), trace=True)
    return out / "host"


def held(zoo: Zoo, files: CFiles, found: Path) -> None:
    graph, samples = zoo.graph(), [zoo.sample() for _ in range(2)]
    ran = host.run(found, graph, samples, files.steps)
    for sample, steps in zip(samples, ran.steps, strict=True):
        expected = interpret(graph, sample, every=True, rounding="tflite")
        assert [name for name, array in steps.items() if array.tobytes() != expected[name].tobytes()] == []


@pytest.mark.slow
@needs_cc
def test_every_sum_is_that_of_the_fixed_point(tmp_path: Path) -> None:
    zoo = sums(1)
    files = written(zoo, tmp_path / "c")
    kernels = [step.kernels[0] for step in files.steps]
    assert {f"qdsl_cmsis_{kind}" for kind in ("conv", "depthwise", "dense")} <= set(kernels)
    grouped = [op.groups > 1 and not op.depthwise for op in zoo.ops if isinstance(op, r.Conv)]
    assert sum(not kernel.startswith("qdsl_cmsis") for kernel in kernels) >= sum(grouped) > 0
    held(zoo, files, program(files, tmp_path / "out"))


@pytest.mark.slow
@needs_cc
def test_layers_that_its_functions_do_not_take_are_computed_here(tmp_path: Path) -> None:
    zoo = edges()
    files = written(zoo, tmp_path / "c")
    own = [number for number, step in enumerate(files.steps) if not step.kernels[0].startswith("qdsl_cmsis")]
    assert own == [1, 4, 5]
    held(zoo, files, program(files, tmp_path / "out"))


@pytest.mark.slow
@needs_cc
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_no_access_is_out_of_bounds_and_nothing_undefined(seed: int, tmp_path: Path) -> None:
    zoo = sums(seed)
    files = written(zoo, tmp_path / "c")
    held(zoo, files, program(files, tmp_path / "out", more=CHECKED))


def test_a_size_that_its_functions_do_not_count_to_is_computed_here() -> None:
    zoo = Zoo(1)
    for width in (32767, 32768):
        x, weight = zoo.feed(1, 2, width, 1), zoo.weight(2, 1, 1, 1)
        zoo.add(r.Conv, (x,), zoo.tensor(1, 2, width, 2), weight, None, r.Window((1, 1)), zoo.to(2, 1))
    found = [cmsis_call(op, zoo.graph()) for op in zoo.ops if isinstance(op, r.Conv)]
    assert found[0] is not None and found[1] is None


def test_nothing_of_what_it_computes_shares_memory() -> None:
    zoo = Zoo(1).chain()
    graph = zoo.graph()
    for optimize in ("speed", "ram"):
        wish = replace(WISH, optimize=optimize)  # type: ignore[arg-type]
        found = plan(graph, [call_of(op, graph, wish) for op in graph.ops], wish)
        for step, scratch in zip(found.steps, found.scratch, strict=True):
            for call in step.calls:
                if call.asks:
                    assert len(step.calls) == 1 and call.behind == (None,)
                    assert found.size >= scratch + call.scratch


@needs_cc
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(places + 3) / 4 * 4", "(places + 3) / 4 * 4 + 1"),
        pytest.param("return 2 * input_dims->c", "return 4 * input_dims->c", marks=pytest.mark.slow),
        pytest.param("if (p->ch_mult != 1", "if (p->ch_mult == 1", marks=pytest.mark.slow),
    ],
    ids=["more for a window", "more for a channel", "refuses"],
)
def test_a_version_that_asks_for_more_is_refused_before_it_runs(one: str, other: str, tmp_path: Path) -> None:
    library = shutil.copytree(HERE, tmp_path / "library")
    path = library / "Source" / "ConvolutionFunctions" / "stand_in_conv.c"
    text = path.read_text(encoding="ascii")
    assert text.count(one) == 1
    path.write_text(text.replace(one, other), encoding="ascii")
    zoo = edges()
    files = written(zoo, tmp_path / "c")
    found = program(files, tmp_path / "out", library)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        host.run(found, zoo.graph(), [zoo.sample()], files.steps)
    assert raised.value.returncode == host.UNFIT


@pytest.mark.slow
@needs_make
def test_make_takes_a_checkout_and_says_where_there_is_none(tmp_path: Path) -> None:
    zoo = Zoo(1)
    x, weight = zoo.feed(1, 8, 8, 8), zoo.weight(16, 3, 3, 8)
    to = r.Requantize(np.full(16, 0.01, np.float32))
    window = r.Window((3, 3))
    name = zoo.add(r.Conv, (x,), zoo.tensor(1, 6, 6, 16), weight, zoo.bias(16), window, to)
    sample = zoo.sample()
    written(zoo, tmp_path)
    (tmp_path / "codes").write_bytes(sample[x].tobytes())
    refused = subprocess.run(["make", "CMSIS_NN="], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert refused.returncode != 0 and "there is no CMSIS-NN" in refused.stderr
    answers = []
    for more in ("", "single"):
        words = ["make", "-s", f"CC={CC} -Werror", f"CMSIS_NN={HERE}", f"CMSIS_NN_ROUNDING={more}"]
        subprocess.run(words, cwd=tmp_path, check=True)
        done = subprocess.run(["build/network", "codes"], cwd=tmp_path, check=True, capture_output=True, text=True)
        its = zoo.its(name)
        values = np.array(done.stdout.split(":")[1].split(), float)
        answers.append(np.rint(values / its.scale + its.zero).astype(int))
        subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True)
    expected = interpret(zoo.graph(), sample, rounding="tflite")[name].astype(int).ravel()
    assert np.array_equal(answers[0], expected)
    assert np.abs(answers[1] - expected).max() <= 1


@pytest.mark.slow
@needs_cc
@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
def test_cmake_takes_a_checkout_and_says_where_there_is_none(tmp_path: Path) -> None:
    written(edges(), tmp_path)
    words = ["cmake", "-S", ".", "-B", "out"]
    refused = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert refused.returncode != 0 and "there is no CMSIS-NN" in refused.stderr
    subprocess.run([*words, f"-DCMSIS_NN={HERE}"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", "out"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out" / "example").exists()


# --- compile --------------------------------------------------------------------------------------------------------


def test_without_a_checkout_the_c_is_written_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLACE, raising=False)
    result = compiled(tmp_path, "kernels cmsis_nn")
    assert seen(result).as_predicted and seen(result).emulated is None
    if not tools().missing:
        assert PLACE in seen(result).not_emulated
    directory = result.targets[0].emitted.directory
    told = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert (told["kernels"], told["rounding"], told["c"]["predicted"]) == ("cmsis_nn", "tflite", {})
    assert "qdsl_cmsis_conv" in {kernel for step in told["c"]["steps"] for kernel in step["kernels"]}
    assert {"cmsis.mk", "cmsis.cmake"} <= {path.name for path in (directory / "c").iterdir()}
    assert {budget.verdict for budget in result.targets[0].budgets} == {"holds"}


@pytest.mark.slow
@needs_cc
def test_with_a_checkout_it_is_held_against_the_fixed_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[host.Ran] = []
    honest = host.run

    def kept(*words: object, **more: object) -> host.Ran:
        ran.append(honest(*words, **more))  # type: ignore[arg-type]
        return ran[-1]

    monkeypatch.setenv(PLACE, str(HERE))
    monkeypatch.setattr("qdsl.targets.stm32.verify.host.run", kept)
    monkeypatch.setattr("qdsl.targets.stm32.verify.on_core", lambda *_: NotHere("not here"))
    found = seen(compiled(tmp_path, "kernels cmsis_nn"))
    assert found.as_predicted and [len(each.outputs) for each in ran] == [found.samples]


def broken(folder: Path, text: str) -> Path:
    library = shutil.copytree(HERE, folder / "library")
    header = library / "Include" / "arm_nnfunctions.h"
    header.write_text(header.read_text(encoding="ascii") + text, encoding="ascii")
    return library


@needs_cc
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "nowhere", "there is no checkout of it"),
        (lambda folder: broken(folder, "#error other\n"), "it is not compiled"),
        pytest.param(
            lambda folder: broken(folder, "#ifdef QDSL_INLINE\n#error other\n#endif\n"),
            "the C that calls it is not compiled",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["nothing there", "not compiled", "other functions"],
)
def test_what_is_no_checkout_is_told(make, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv(PLACE, str(make(tmp_path)))
    with pytest.raises(QdslError) as raised:
        compiled(tmp_path, "kernels cmsis_nn")
    (found,) = raised.value.diagnostics
    assert found.code == "cmsis-nn-unfit" and told in found.headline and found.span is not None


def test_a_checkout_is_named_by_who_runs_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLACE, raising=False)
    assert isinstance(checkout(), NotHere)
    monkeypatch.setenv(PLACE, str(HERE))
    found = checkout()
    assert isinstance(found, Checkout)
    names = [path.name for path in found.sources]
    assert names == ["stand_in_conv.c", "stand_in_dense.c", "stand_in_code.c"]


@pytest.mark.slow
@pytest.mark.board
@pytest.mark.skipif(bool(tools().missing), reason=tools().missing)
def test_it_runs_on_an_emulated_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACE, str(HERE))
    found = seen(compiled(tmp_path, "kernels cmsis_nn")).emulated
    assert found is not None and found.exact == found.outputs > 0 and found.apart == 0
    library = shutil.copytree(HERE, tmp_path / "library")
    path = library / "Source" / "ConvolutionFunctions" / "stand_in_conv.c"
    path.write_text(path.read_text(encoding="ascii").replace("+ 3) / 4", "+ 9) / 4"), encoding="ascii")
    monkeypatch.setenv(PLACE, str(library))
    monkeypatch.setattr("qdsl.targets.stm32.verify._hold_c", lambda *_: None)
    with pytest.raises(QdslError) as raised:
        compiled(tmp_path / "again", "kernels cmsis_nn")
    assert "CMSIS-NN asks for more scratch" in raised.value.diagnostics[0].headline
