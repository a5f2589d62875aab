"""Artifacts for TensorRT timed by ONNX Runtime's TensorRT provider: who is asked, what the figures are called, and what
is told where it is not there. No figure of a GPU: a machine with one is stood in for, and so is the provider."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.api import CompileResult
from qdsl.harness.worker import RefusedError, session_of
from qdsl.targets import probing
from qdsl.targets.base import Deployed
from qdsl.targets.results import Emitted, NotHere
from qdsl.targets.tensorrt import installed, provider
from qdsl.targets.tensorrt.target import Tensorrt

GPU = installed.Gpu("NVIDIA A10", "580.65.06", "8.6")
ON = "ONNX Runtime's TensorRT provider on NVIDIA A10"
RECIPE = HEAD.replace("uint8 affine", "int8 symmetric").replace(
    "target ort\n",
    'target tensorrt { version "10.3"; profile latency { runs 4; warmup 1; batch 1 }; require latency <= 9 s }\n',
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
    (found,) = (each for each in result.diagnostics if each.code == "profile-left-out")
    assert not result.profiles and result.targets[0].budgets[0].verdict == "undecided"
    return found.headline


@pytest.fixture
def emitted(tmp_path: Path) -> Emitted:
    return Emitted(directory=tmp_path, model=tmp_path / "model.onnx", manifest=tmp_path / "manifest.json", files=())


def test_without_a_gpu_it_is_not_profiled_and_says_why(tmp_path: Path) -> None:
    assert "no NVIDIA GPU is here; an engine is built and run on its own GPU" in left_out(compiled(tmp_path))


@pytest.mark.parametrize(
    ("providers", "says"),
    [
        (("CPUExecutionProvider",), "has no TensorRT provider (`onnxruntime-gpu` has one)"),
        ((provider.CUDA, "CPUExecutionProvider"), "its CUDA provider computes Q/DQ in float"),
    ],
)
@pytest.mark.usefixtures("here")
def test_without_the_provider_the_reason_is_that(
    providers: tuple[str, ...], says: str, emitted: Emitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "onnxruntime", lambda: probing.OnnxRuntime("1.32.0", providers))
    found = provider.deployed(emitted)
    assert isinstance(found, NotHere) and says in found.why


@pytest.mark.usefixtures("here")
def test_a_weak_engine_may_take_int8_and_float16_and_the_float_model_neither(emitted: Emitted) -> None:
    (emitted.directory / "quant_manifest.json").write_text('{"typing": "weak"}')
    found = provider.deployed(emitted)
    assert isinstance(found, Deployed) and (found.provider, found.on) == (provider.PROVIDER, ON)
    assert found.providing == {"trt_int8_enable": "1", "trt_fp16_enable": "1"} and found.floats == {}
    (emitted.directory / "quant_manifest.json").write_text('{"typing": "strong"}')
    assert provider.deployed(emitted) == replace(found, providing={})


@pytest.mark.usefixtures("here")
def test_a_provider_that_does_not_load_gives_no_figures_of_the_cpu(tmp_path: Path) -> None:
    """ONNX Runtime itself would go on with its CPU provider."""
    told = left_out(compiled(tmp_path))
    assert told == f"tensorrt is not profiled here, by {ON}: TensorrtExecutionProvider does not load"


def test_figures_are_called_those_of_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's provider in its place."""

    def deployed(self: Tensorrt, emitted: Emitted) -> Deployed:
        return Deployed(emitted.model, provider="CPUExecutionProvider", on=ON)

    monkeypatch.setattr(Tensorrt, "deployed", deployed)
    result = compiled(tmp_path)
    (found,) = result.profiles
    assert found.measured_on == ON and found.runs == 4
    (budget,) = result.targets[0].budgets
    assert budget.verdict == "holds" and budget.source == f"measured here by {ON}, 4 runs"
    assert f"Measured on {ON}" in result.report.read_text().replace("&#x27;", "'").replace("&#39;", "'")
    assert not (tmp_path / "build" / "demo" / "tensorrt" / "bench").exists()


def test_a_session_of_a_provider_that_is_not_there_is_refused(tmp_path: Path) -> None:
    project(tmp_path)
    with pytest.raises(RefusedError, match="does not load"):
        session_of(str(tmp_path / "demo.onnx"), 1, {}, provider="TensorrtExecutionProvider")


def test_a_provider_that_leaves_nodes_is_not_timed_with_the_cpu(tmp_path: Path) -> None:
    """One that every ONNX Runtime of pip's has, and that takes nodes of Azure's own alone."""
    project(tmp_path)
    with pytest.raises(RefusedError, match="leaves nodes to the CPU"):
        session_of(str(tmp_path / "demo.onnx"), 1, {}, provider="AzureExecutionProvider")
