"""Artifacts for TensorRT timed by ONNX Runtime's TensorRT and CUDA providers: who is asked, what the figures are called
and decide, and what is told where one is not there. No figure of a GPU: a machine with one is stood in for, and so are
the providers."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.api import CompileResult, MeasureResult
from qdsl.cli import main
from qdsl.harness.reading import read
from qdsl.harness.worker import RefusedError, session_of
from qdsl.report.data import load
from qdsl.targets import probing
from qdsl.targets.base import Deployed
from qdsl.targets.results import Emitted, NotHere
from qdsl.targets.tensorrt import installed, provider
from qdsl.targets.tensorrt.target import Tensorrt

GPU = installed.Gpu("NVIDIA A10", "580.65.06", "8.6")
ON = "ONNX Runtime's TensorRT provider on NVIDIA A10"
BY_CUDA = "ONNX Runtime's CUDA provider on NVIDIA A10"
LATENCY = "latency <= 900 s"  # an emulated machine holds it, too
RECIPE = HEAD.replace("uint8 affine", "int8 symmetric").replace(
    "target ort\n",
    'target tensorrt { version "10.3"; profile latency { runs 4; warmup 1; batch 1 }; require latency <= 900 s }\n',
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, and an ONNX Runtime that says it has the provider."""
    runtime = probing.OnnxRuntime("1.32.0", (provider.PROVIDER, provider.CUDA, "CPUExecutionProvider"))
    monkeypatch.setattr(provider, "gpus", lambda: ((GPU,), ""))
    monkeypatch.setattr(provider, "onnxruntime", lambda: runtime)


def compiled(folder: Path) -> CompileResult:
    return qdsl.compile(project(folder, head=RECIPE), out=folder / "build", lock=False)


def left_out(result: CompileResult) -> str:
    (found,) = told(result)
    assert not result.profiles and result.targets[0].budgets[0].verdict == "undecided"
    return found


def told(result: CompileResult | MeasureResult) -> list[str]:
    """What is left out of the profile, and why."""
    return [each.headline for each in result.diagnostics if each.code == "profile-left-out"]


@pytest.fixture
def emitted(tmp_path: Path) -> Emitted:
    return Emitted(directory=tmp_path, model=tmp_path / "model.onnx", manifest=tmp_path / "manifest.json", files=())


def test_without_a_gpu_it_is_not_profiled_and_says_why(tmp_path: Path) -> None:
    assert "no NVIDIA GPU is here; an engine is built and run on its own GPU" in left_out(compiled(tmp_path))


@pytest.mark.parametrize(
    ("providers", "ways"),
    [
        (("CPUExecutionProvider",), [""]),
        ((provider.PROVIDER, "CPUExecutionProvider"), [ON]),
        ((provider.CUDA, "CPUExecutionProvider"), ["", BY_CUDA]),
        ((provider.PROVIDER, provider.CUDA, "CPUExecutionProvider"), [ON, BY_CUDA]),
    ],
)
@pytest.mark.usefixtures("here")
def test_each_provider_is_asked_and_why_there_is_no_engine_of_it_is_told(
    providers: tuple[str, ...], ways: list[str], emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "onnxruntime", lambda: probing.OnnxRuntime("1.32.0", providers))
    found = provider.deployed(emitted)
    assert ["" if isinstance(each, NotHere) else each.on for each in found] == ways
    for each in found:
        if isinstance(each, NotHere):
            assert each.why == "onnxruntime 1.32.0 has no TensorRT provider (`onnxruntime-gpu` has one)"
        else:
            assert each.decides == (each.on == ON)


@pytest.mark.usefixtures("here")
def test_a_weak_engine_may_take_int8_and_float16_and_neither_the_float_model_nor_cuda_is_told_so(
    emitted: Emitted,
) -> None:
    (emitted.directory / "quant_manifest.json").write_text('{"typing": "weak"}')
    found, by_cuda = provider.deployed(emitted)
    assert isinstance(found, Deployed) and (found.provider, found.on) == (provider.PROVIDER, ON)
    assert found.providing == {"trt_int8_enable": "1", "trt_fp16_enable": "1"} and found.floats == {}
    assert by_cuda == Deployed(emitted.model, provider=provider.CUDA, on=BY_CUDA, decides=False)
    (emitted.directory / "quant_manifest.json").write_text('{"typing": "strong"}')
    assert provider.deployed(emitted) == (replace(found, providing={}), by_cuda)


@pytest.mark.usefixtures("here")
def test_providers_that_do_not_load_give_no_figures_of_the_cpu(tmp_path: Path) -> None:
    """ONNX Runtime itself would go on with its CPU provider."""
    result = compiled(tmp_path)
    assert told(result) == [
        f"tensorrt is not profiled here, by {ON}: TensorrtExecutionProvider does not load",
        f"tensorrt is not profiled here, by {BY_CUDA}: CUDAExecutionProvider does not load",
    ]
    assert not result.profiles and result.targets[0].budgets[0].verdict == "undecided"


Stand = Callable[..., None]


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """`stand(engine=.., cuda=..)`: what runs in the place of each provider; the CPU's by default."""

    def put(engine: str = "CPUExecutionProvider", cuda: str = "CPUExecutionProvider") -> None:
        def deployed(self: Tensorrt, emitted: Emitted) -> tuple[Deployed, ...]:
            by_cuda = Deployed(emitted.model, provider=cuda, on=BY_CUDA, decides=False)
            return Deployed(emitted.model, provider=engine, on=ON), by_cuda

        monkeypatch.setattr(Tensorrt, "deployed", deployed)

    return put


def shown(result: CompileResult | MeasureResult) -> str:
    assert result.report is not None
    return html.unescape(result.report.read_text())


@pytest.mark.slow
def test_figures_of_both_are_called_theirs_and_an_engines_decide(
    tmp_path: Path, stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """A provider that loads no more leaves its figures as they were; a verdict goes with the figure of its own."""
    stand()
    result = compiled(tmp_path)
    assert [(each.measured_on, each.decides, each.runs) for each in result.profiles] == [
        (ON, True, 4),
        (BY_CUDA, False, 4),
    ]
    (budget,) = result.targets[0].budgets
    assert budget.verdict == "holds" and budget.source == f"measured here by {ON}, 4 runs"
    page = shown(result)
    assert f"Measured on {ON}: 4 runs each" in page and f"Measured on {BY_CUDA}: 4 runs each" in page
    assert f"tensorrt static by {BY_CUDA} (the provider's figures, not an engine's: they decide no budget)" in page
    assert f"tensorrt profiled on {ON} with" in page and f"tensorrt profiled on {BY_CUDA} with" in page
    assert not (tmp_path / "build" / "demo" / "tensorrt" / "bench").exists()

    stand(cuda="CUDAExecutionProvider")
    words = ["profile", str(tmp_path / "demo.q"), "--out", str(tmp_path / "build"), "--runs", "2"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert f"measured here by {ON}: 2 runs each" in printed.out and "CUDAExecutionProvider does not load" in printed.err
    assert f"measured here by {BY_CUDA}: 4 runs each" in printed.out and "decide no budget" in printed.out
    kept = read(tmp_path / "build" / "demo" / "measurements.json")
    assert [(each.measured_on, each.decides, each.runs) for each in kept.profiles] == [
        (ON, True, 2),
        (BY_CUDA, False, 4),
    ]
    document = tmp_path / "build" / "demo" / "measurements.json"
    content = json.loads(document.read_text())
    content["profiles"] = [each for each in content["profiles"] if not each["decides"]]
    document.write_text(json.dumps(content))
    (facts,) = load(document.parent).found.builds
    assert [(each.text, each.verdict) for each in facts.budgets] == [(LATENCY, "undecided")], "its figure is gone"


@pytest.mark.slow
def test_figures_of_cuda_alone_are_shown_and_decide_nothing(tmp_path: Path, stand: Stand) -> None:
    stand(engine="TensorrtExecutionProvider")
    result = compiled(tmp_path)
    assert told(result) == [f"tensorrt is not profiled here, by {ON}: TensorrtExecutionProvider does not load"]
    (found,) = result.profiles
    assert found.measured_on == BY_CUDA and not found.decides
    (budget,) = result.targets[0].budgets
    assert (budget.verdict, budget.value) == ("undecided", None)
    assert budget.source == f"timed by {BY_CUDA} alone, whose figures are no engine's"
    page = shown(result)
    assert f"{BY_CUDA}, the provider's figures, not an engine's" in page and f"Measured on {BY_CUDA}" in page
    build = tmp_path / "build" / "demo"
    compared = html.unescape(qdsl.report(build, build, out=tmp_path / "both.html").path.read_text())
    assert f"demo (2) by {BY_CUDA} (the provider's figures" in compared and "demo (2): not measured" in compared


def test_a_session_of_a_provider_that_is_not_there_is_refused(tmp_path: Path) -> None:
    project(tmp_path)
    with pytest.raises(RefusedError, match="does not load"):
        session_of(str(tmp_path / "demo.onnx"), 1, {}, provider="TensorrtExecutionProvider")


def test_a_provider_that_leaves_nodes_is_not_timed_with_the_cpu(tmp_path: Path) -> None:
    """One that every ONNX Runtime of pip's has, and that takes nodes of Azure's own alone."""
    project(tmp_path)
    with pytest.raises(RefusedError, match="leaves nodes to the CPU"):
        session_of(str(tmp_path / "demo.onnx"), 1, {}, provider="AzureExecutionProvider")


def test_libraries_of_python_packages_are_loaded_for_a_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CUDA's lie in packages of their own, where the loader does not look; what is said of it is none of the answers
    that the parent reads."""
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: sys.stdout.write("Failed to load libcudart.so\n"))
    project(tmp_path)
    with pytest.raises(RefusedError):
        session_of(str(tmp_path / "demo.onnx"), 1, {}, provider="AzureExecutionProvider")
    said = capsys.readouterr()
    assert said.out == "" and said.err == "Failed to load libcudart.so\n"
