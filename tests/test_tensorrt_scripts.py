"""The scripts that are copied beside a model: which names of TensorRT they use, and what they do, in every version.

What TensorRT decides is played by a strict stand-in (`tensorrt_fake`), so nothing here says that an engine is built.
"""

from __future__ import annotations

import ast
import base64
import ctypes
import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tensorrt_contracts import DATA, needs_contracts, surfaces
from tensorrt_fake import Said, strict_tensorrt

from qdsl.targets.tensorrt import scripts
from qdsl.targets.tensorrt.versions import Release

FOLDER = Path(scripts.__file__).parent
NAMES = ("build_engine.py", "profile_engine.py")
OLD, JETSON, LAST_WEAK, NEWEST = Release(8, 6), Release(10, 3), Release(10, 16), Release(11, 4)
VERSIONS = pytest.mark.parametrize("release", [OLD, JETSON, LAST_WEAK, NEWEST], ids=str)
pytestmark = needs_contracts


# ---- what they may use -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*_engine.py")), ids=lambda path: path.name)
def test_a_script_needs_python_3_10_and_the_standard_library_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
    roots = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert roots - {"tensorrt"} <= sys.stdlib_module_names


def chains(tree: ast.AST) -> list[tuple[str, ...]]:
    """Every `trt.A.B` as its names behind `trt`, the longest ones."""
    found, inner = [], set()
    for node in ast.walk(tree):
        names: list[str] = []
        at: ast.AST = node
        while isinstance(at, ast.Attribute):
            names.insert(0, at.attr)
            at = at.value
            inner.add(at)
        if names and isinstance(at, ast.Name) and at.id == "trt" and node not in inner:
            found.append(tuple(names))
    return found


def guards(tree: ast.AST) -> set[str]:
    """Names that a function asks for with `hasattr` before it uses them."""
    return {
        node.args[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "hasattr"
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, str)
    }


def has_chain(surface: dict[str, Any], names: tuple[str, ...]) -> bool:
    first, *rest = names
    enums, classes = surface["enums"], surface["classes"]
    if not rest:
        return first in (*enums, *classes, *surface["functions"], "__version__")
    return rest[0] in enums.get(first, {}) or (rest[0] in (*classes.get(first, ()), "__init__") and first in classes)


def since(name: str, surfaces: dict[Release, dict[str, Any]]) -> frozenset[Release]:
    """The versions in which a name stands anywhere: of a class, of a member, of a value."""
    return frozenset(
        release
        for release, surface in surfaces.items()
        if name in surface["classes"]
        or name in surface["enums"]
        or any(name in members for members in surface["classes"].values())
        or any(name in members for members in surface["enums"].values())
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_a_script_uses_is_in_every_version_or_behind_a_guard(name: str) -> None:
    """A guard covers what is in all versions that have the guard's own name."""
    known = surfaces()
    tree = ast.parse((FOLDER / name).read_text(encoding="utf-8"))
    members = {name for surface in known.values() for kept in surface["classes"].values() for name in kept}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    wrong, used = [], 0
    for function in functions:
        guarded = [since(word, known) for word in guards(function)]
        here = {chain: frozenset(r for r, s in known.items() if has_chain(s, chain)) for chain in chains(function)}
        here |= {
            (node.attr,): since(node.attr, known)
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and node.attr in members and ast.unparse(node.value) != "options"
        }
        used += len(here)
        # What no TensorRT has is TensorRT-RTX's own: named in a guard by itself.
        wrong += [
            f"{function.name}: {'.'.join(names)}"
            for names, versions in here.items()
            if versions != frozenset(known)
            and names[-1] not in guards(function)
            and not any(each and each <= versions for each in guarded)
        ]
    assert used > 20 and not wrong


def test_a_name_that_a_version_lacks_would_be_found() -> None:
    known = surfaces()
    assert not has_chain(known[NEWEST], ("BuilderFlag", "INT8"))
    assert not has_chain(known[NEWEST], ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"))
    assert has_chain(known[OLD], ("BuilderFlag", "INT8"))
    assert chains(ast.parse("a(trt.A.B, trt.C)")) == [("A", "B"), ("C",)]
    assert since("precision", known) == frozenset(release for release in known if release.weak)


@pytest.mark.parametrize("name", NAMES)
def test_no_number_of_an_enum_stands_in_a_script(name: str) -> None:
    """Which bit a flag is differs between versions: only a name shifts."""
    tree = ast.parse((FOLDER / name).read_text(encoding="utf-8"))
    shifts = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift)]
    for shift in shifts:
        by_name = isinstance(shift.right, ast.Call) or "workspace" in ast.unparse(shift.left)
        assert by_name, ast.unparse(shift)


# ---- what they do ----------------------------------------------------------------------------------------------------

MANIFEST = {
    "format": 1,
    "typing": "weak",
    "nodes": [
        {"node": "conv1", "expect": "int8", "pairs": [{"type": "int8"}]},
        {"node": "conv2", "expect": "int8", "pairs": [{"type": "int8"}]},
        {"node": "act", "expect": "float16", "pairs": []},
    ],
}
LAYERS = [
    ("q", "QUANTIZE", "INT8"),
    ("conv1", "CONVOLUTION", "FLOAT"),
    ("conv2", "CONVOLUTION", "FLOAT"),
    ("act", "ACTIVATION", "FLOAT"),
    ("size", "SHUFFLE", "INT32"),
]


def script(name: str, release: Release, said: Said, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, with that TensorRT."""
    monkeypatch.setitem(sys.modules, "tensorrt", strict_tensorrt(release, said))
    module = ModuleType(name.removesuffix(".py"))
    module.__file__ = str(FOLDER / name)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile((FOLDER / name).read_text(encoding="utf-8"), name, "exec"), module.__dict__)
    return module


def beside(folder: Path, monkeypatch: pytest.MonkeyPatch, typing: str = "weak") -> Path:
    monkeypatch.chdir(folder)
    (folder / "model.onnx").write_bytes(b"a model")
    (folder / "quant_manifest.json").write_text(json.dumps({**MANIFEST, "typing": typing}), encoding="utf-8")
    return folder


FILES = ["--onnx", "model.onnx", "--manifest", "quant_manifest.json"]


def ran(release: Release, said: Said, monkeypatch: pytest.MonkeyPatch, *words: str, gpu: bool = True) -> Any:
    module = script("build_engine.py", release, said, monkeypatch)
    if gpu:
        monkeypatch.setattr(module, "gpu_here", lambda: {"gpu": "played", "compute_capability": "8.7"})
    assert module.main([*FILES, *words]) == 0
    return json.loads(Path("build.json").read_text(encoding="utf-8"))


def refused(release: Release, said: Said, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    module = script("build_engine.py", release, said, monkeypatch)
    monkeypatch.setattr(module, "gpu_here", dict)
    with pytest.raises(SystemExit) as caught:
        module.main([*FILES, *words])
    assert caught.value.code == 1 and not Path("engine.plan").exists()


@VERSIONS
def test_an_engine_is_built_and_what_it_was_built_with_is_kept(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = (DATA / "trt_samples" / "resnet18_qat.A100.graph.json").read_text(encoding="utf-8")
    said = Said(information=sample)
    typing = "strong" if release == NEWEST else "weak"
    facts = ran(release, said, monkeypatch) if beside(tmp_path, monkeypatch, typing) else None
    assert (tmp_path / "engine.plan").read_bytes() == b"an engine"
    assert json.loads((tmp_path / "layers.json").read_text(encoding="utf-8")) == json.loads(sample)
    assert facts["typing"] == typing and facts["gpu"] == "played"
    assert facts["flags"] == said_flags(typing) == [flag.lower() for flag in said.flags]
    assert facts["onnx_sha256"] == hashlib.sha256(b"a model").hexdigest() and facts["engine_bytes"] == 9
    creation = strict_tensorrt(release, Said()).NetworkDefinitionCreationFlag
    assert [flag.name for flag in creation if said.creation >> flag & 1] == {
        OLD: ["EXPLICIT_BATCH"],
        JETSON: ["EXPLICIT_BATCH"],
        LAST_WEAK: ["EXPLICIT_BATCH"],
        NEWEST: ["STRONGLY_TYPED"],
    }[release]
    assert said.config.profiling_verbosity.name == "DETAILED"


def said_flags(typing: str) -> list[str]:
    return ["int8", "fp16"] if typing == "weak" else []


@pytest.mark.parametrize("release", [JETSON, LAST_WEAK], ids=str)
def test_a_strongly_typed_file_is_built_as_one(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(tmp_path, monkeypatch, "strong")
    said = Said()
    facts = ran(release, said, monkeypatch)
    creation = strict_tensorrt(release, Said()).NetworkDefinitionCreationFlag
    assert (facts["typing"], said.flags) == ("strong", [])
    assert said.creation >> creation.STRONGLY_TYPED & 1


def test_what_a_version_has_not_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch, "strong")
    refused(OLD, Said(), monkeypatch)
    assert "has no strongly typed networks" in capsys.readouterr().err
    refused(JETSON, Said(), monkeypatch, "--typing", "weak", "--precisions", "int8,fp4")
    assert "no flag for fp4" in capsys.readouterr().err
    refused(JETSON, Said(), monkeypatch, "--compute-capability", "SM86")
    assert "builds for the GPU that is here" in capsys.readouterr().err
    refused(NEWEST, Said(), monkeypatch, "--force-precision")
    assert "nothing to force" in capsys.readouterr().err
    assert ran(NEWEST, Said(), monkeypatch, "--typing", "weak")["typing"] == "strong"
    assert "strongly typed" in capsys.readouterr().err


@VERSIONS
def test_every_error_of_the_parser_is_told_with_its_node(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch, "strong" if release == NEWEST else "weak")
    said = Said(parse_errors=[("conv1_DQ", "DequantizeLinear", "zero point"), ("pool", "MaxPool", "dilations")])
    refused(release, said, monkeypatch)
    told = capsys.readouterr().err
    assert "zero point" in told and "dilations" in told and "cannot read" in told
    assert ("`conv1_DQ`" in told) == (release != OLD) and "node 0" in told


@VERSIONS
def test_open_dimensions_need_shapes_and_an_execution_tells_their_types(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch, "strong" if release == NEWEST else "weak")
    said = Said(inputs={"a=b": (-1, 3, 8, 8), "y0": (1, 2)})
    refused(release, said, monkeypatch)
    assert "a=b is (-1, 3, 8, 8)" in capsys.readouterr().err
    refused(release, said, monkeypatch, "--shapes", "z=1x3")
    assert "no input ['z']" in capsys.readouterr().err
    refused(release, said, monkeypatch, "--shapes", "a=b=1x-3")
    assert "is no shape" in capsys.readouterr().err
    words = [word for name, size in (("min", 1), ("opt", 2), ("max", 4)) for word in (f"--{name}", f"a=b={size}x3x8x8")]
    facts = ran(release, said, monkeypatch, *words)
    assert said.profiles == [("a=b", (1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))]
    assert facts["shapes"] == {"a=b": [[1, 3, 8, 8], [2, 3, 8, 8], [4, 3, 8, 8]]}
    assert said.contexts[-1]._shapes == {"a=b": (2, 3, 8, 8)}


@pytest.mark.parametrize("release", [OLD, JETSON, LAST_WEAK], ids=str)
def test_layers_are_forced_and_those_without_a_kernel_given_up(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch)
    layers = [*LAYERS, ("conv12", "CONVOLUTION", "FLOAT")]
    said = Said(layers=layers, failures=["Error Code 10: Could not find any implementation for node conv2 + act_1."])
    facts = ran(release, said, monkeypatch, "--force-precision")
    assert said.built == [
        {"conv1": "INT8", "conv2": "INT8", "act": "HALF"},
        {"conv1": "INT8", "act": "HALF"},
    ]
    assert "OBEY_PRECISION_CONSTRAINTS" in said.flags
    assert facts["forced"] == ["act", "conv1"] and facts["given_up"] == ["conv2"]
    assert "without forcing conv2" in capsys.readouterr().err


def test_where_no_layer_is_named_all_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside(tmp_path, monkeypatch)
    said = Said(layers=LAYERS, failures=["Error Code 2: out of memory", "Error Code 2: out of memory"])
    refused(JETSON, said, monkeypatch, "--force-precision")
    assert said.built == [{"conv1": "INT8", "conv2": "INT8", "act": "HALF"}, {}]


def test_timings_are_kept_and_those_of_another_gpu_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch)
    ran(JETSON, Said(), monkeypatch, "--timing-cache", "timing.cache")
    assert (tmp_path / "timing.cache").read_bytes() == b"timings"
    ran(JETSON, Said(other_cache=True), monkeypatch, "--timing-cache", "timing.cache")
    assert "left aside" in capsys.readouterr().err


def test_an_engine_that_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch)
    module = script("build_engine.py", JETSON, Said(loads=False), monkeypatch)
    monkeypatch.setattr(module, "gpu_here", dict)
    with pytest.raises(SystemExit):
        module.main(FILES)
    assert "cannot be loaded here" in capsys.readouterr().err
    assert ran(JETSON, Said(loads=False), monkeypatch, "--serialize-only", gpu=False)["engine_bytes"] == 9


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "nodes": []}', '{"format": 1}'])
def test_a_manifest_that_is_none_is_told(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch)
    (tmp_path / "quant_manifest.json").write_text(text, encoding="utf-8")
    refused(JETSON, Said(), monkeypatch)
    assert "quant_manifest.json is" in capsys.readouterr().err


def test_where_no_driver_is_the_build_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(tmp_path, monkeypatch)
    module = script("build_engine.py", JETSON, Said(), monkeypatch)
    monkeypatch.setattr(module.ctypes, "CDLL", missing)
    with pytest.raises(SystemExit):
        module.main(FILES)
    assert "no NVIDIA driver here" in capsys.readouterr().err


def missing(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


# ---- profile_engine.py -----------------------------------------------------------------------------------------------


class PlayedCuda:
    """CUDA as far as the script calls it: every run takes half a millisecond."""

    def __init__(self) -> None:
        self.memories: list[tuple[int, bytes | None]] = []
        self.library = self

    def __getattr__(self, name: str) -> Any:
        if name in ("cudaStreamBeginCapture", "cudaGetLastError"):
            return lambda *_: 1
        raise AttributeError(name)

    def stream(self) -> Any:
        return type("Stream", (), {"value": 7})()

    def made(self, name: str, *_: Any) -> Any:
        return object()

    def call(self, name: str, *_: Any) -> None:
        pass

    def wait(self, stream: Any) -> None:
        pass

    def between(self, first: Any, last: Any) -> float:
        return 0.5

    def memory(self, size: int, content: bytes | None = None) -> int:
        self.memories.append((size, content))
        return len(self.memories)


@VERSIONS
def test_an_engine_is_timed_run_by_run_and_layer_by_layer(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engine.plan").write_bytes(b"an engine")
    module = script("profile_engine.py", release, Said(inputs={"x": (-1, 3, 2, 2), "z": (1, 2)}), monkeypatch)
    cuda = PlayedCuda()
    monkeypatch.setattr(module, "Cuda", lambda: cuda)
    fed = io.BytesIO()
    np.save(fed, np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    array = {"array": base64.b64encode(fed.getvalue()).decode(), "polygraphy_class": "ndarray"}
    (tmp_path / "inputs.json").write_text(json.dumps([{"x": array}]), encoding="utf-8")
    words = ["--inputs", "inputs.json", "--warmup", "0", "--duration", "0", "--iterations", "12"]
    assert module.main([*words, "--shapes", "x=2x3x2x2"]) == 0
    assert cuda.memories[0] == (96, np.arange(24, dtype=np.float32).tobytes())
    assert cuda.memories[1][0] == 8 and cuda.memories[2] == (64, None)
    times = json.loads((tmp_path / "times.json").read_text(encoding="utf-8"))
    assert len(times) == 12 and all(each["latencyMs"] == each["computeMs"] == 0.5 for each in times)
    sample = json.loads((DATA / "trt_samples" / "resnet50_qat.RTX3090.timing.json").read_text(encoding="utf-8"))
    assert list(times[0]) == list(sample[0])
    head, *rows = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    sample = json.loads((DATA / "trt_samples" / "resnet18_qat.A100.profile.json").read_text(encoding="utf-8"))
    assert head == {"count": 100} and list(rows[0]) == list(sample[1])
    assert [(row["name"], row["averageMs"], row["medianMs"], row["percentage"]) for row in rows] == [
        ("conv1", 0.25, 0.25, 25.0),
        ("conv2", 0.75, 0.75, 75.0),
    ]
    assert "median 0.5 ms" in capsys.readouterr().out


def profiling_fails(
    said: Said, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> str:
    module = script("profile_engine.py", JETSON, said, monkeypatch)
    monkeypatch.setattr(module, "Cuda", PlayedCuda)
    with pytest.raises(SystemExit) as caught:
        module.main(list(words))
    assert caught.value.code == 1
    return capsys.readouterr().err


def test_what_cannot_be_timed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = Said(inputs={"x": (-1, 3)})
    assert "build it first" in profiling_fails(said, monkeypatch, capsys)
    (tmp_path / "engine.plan").write_bytes(b"an engine")
    assert "does not load" in profiling_fails(Said(loads=False), monkeypatch, capsys)
    assert "takes shapes from (1, 3) to (4, 3)" in profiling_fails(said, monkeypatch, capsys, "--shapes", "x=9x3")
    assert "no input ['y']" in profiling_fails(said, monkeypatch, capsys, "--shapes", "y=9x3")
    for text in ("{", "[]", '[{"x": {"array": "AAAA"}}]', '[{"x": 3}]'):
        (tmp_path / "inputs.json").write_text(text, encoding="utf-8")
        assert "cannot be read" in profiling_fails(said, monkeypatch, capsys, "--inputs", "inputs.json")


def test_where_no_gpu_is_nothing_is_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = script("profile_engine.py", JETSON, Said(), monkeypatch)
    monkeypatch.setattr(module.ctypes, "CDLL", missing)
    with pytest.raises(SystemExit) as caught:
        module.main([])
    assert caught.value.code == 1 and "this needs the machine that has the GPU" in capsys.readouterr().err


def test_quantiles_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("profile_engine.py", JETSON, Said(), monkeypatch)
    values = sorted(np.random.default_rng(0).random(37))
    for part in (0.0, 0.5, 0.99, 1.0):
        assert module.quantile(values, part) == pytest.approx(np.quantile(values, part))


# ---- the calls of CUDA -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> str:
    """CUDA's calls on memory of the host: whether arguments arrive as they should."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("stub") / "libstub.so"
    source = Path(__file__).parent / "cuda_stub.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(source)], check=True, timeout=60)
    return str(made)


def test_what_is_fed_and_timed_goes_through_the_calls_of_cuda(
    stub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engine.plan").write_bytes(b"an engine")
    said = Said(inputs={"x": (1, 3, 2, 2)})
    module = script("profile_engine.py", JETSON, said, monkeypatch)
    monkeypatch.setattr(module, "find_library", lambda name: stub)
    words = ["--inputs", "none.json", "--warmup", "0", "--duration", "0", "--iterations", "5"]
    assert module.main(words) == 0
    times = json.loads((tmp_path / "times.json").read_text(encoding="utf-8"))
    assert [each["computeMs"] for each in times] == [0.25] * 5
    assert [each["startComputeMs"] for each in times] == [0.25, 0.75, 1.25, 1.75, 2.25]
    address = said.contexts[0]._at["x"]
    fed = np.frombuffer(ctypes.string_at(address, 48), np.float32)
    assert ((fed >= 0) & (fed < 1)).all() and len(set(fed)) == 12
    assert "one CUDA graph" in capsys.readouterr().out
    assert module.main([*words, "--no-cuda-graph"]) == 0 and "no CUDA graph" in capsys.readouterr().out


def test_what_cuda_refuses_is_told_in_its_words(
    stub: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("profile_engine.py", JETSON, Said(), monkeypatch)
    monkeypatch.setattr(module, "find_library", lambda name: stub)
    with pytest.raises(SystemExit):
        module.Cuda().memory(1 << 41)
    assert "cudaMalloc: out of memory" in capsys.readouterr().err


def test_the_gpu_of_a_build_is_told_as_the_driver_names_it(stub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("build_engine.py", JETSON, Said(), monkeypatch)
    real = ctypes.CDLL
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: real(stub))
    told = {"gpu": "played", "compute_capability": "8.7", "cuda": "12.6", "driver": "560.35.03"}
    assert module.gpu_here() == told
