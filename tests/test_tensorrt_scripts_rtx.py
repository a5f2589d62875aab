"""build_engine.py run for real, up to the serialized engine: with TensorRT-RTX, which has the names of TensorRT 11 and
builds without a GPU. `python -m qdsl.engines.rtx.get` makes its environment, under NVIDIA's licence."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from pathlib import Path

import onnx
import pytest
import rtx_engine
from onnx import ModelProto
from test_audit_rules_tensorrt import CASES, taken
from test_tensorrt_beside import emitted

from qdsl.targets.tensorrt import scripts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]

BUILD = Path(scripts.__file__).parent / "build_engine.py"
ALIAS = """import runpy, sys, tensorrt_rtx_bindings
sys.modules["tensorrt"] = tensorrt_rtx_bindings
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def built(folder: Path, model: ModelProto, *words: str) -> subprocess.CompletedProcess[str]:
    onnx.save(model, folder / "model.onnx")
    return run(folder, BUILD, "--onnx", "model.onnx", "--typing", "strong", *words)


def run(folder: Path, script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    python = rtx_engine.python()
    assert python is not None
    command = [str(python), "-c", ALIAS, str(script), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


ALONE = ("--serialize-only", "--compute-capability", "SM86")


def test_the_branch_of_11_builds_an_engine(tmp_path: Path) -> None:
    done = built(tmp_path, taken(), *ALONE, "--optimization-level", "1")
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "build.json").read_text(encoding="utf-8"))
    engine = (tmp_path / "engine.plan").read_bytes()
    assert facts["typing"] == "strong" and facts["flags"] == [] and facts["tensorrt"] == rtx_engine.VERSION
    assert facts["engine_sha256"] == hashlib.sha256(engine).hexdigest() and len(engine) > 10_000
    assert facts["onnx_sha256"] == hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    assert not (tmp_path / "layers.json").exists() and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("setting", ["", "high_precision float16"])
def test_what_compile_leaves_is_built_by_its_own_script_and_command(setting: str, tmp_path: Path) -> None:
    """The words are those of commands.sh, but for the timing cache, which TensorRT-RTX does not keep."""
    folder = emitted(tmp_path, f'version "11.4"; device "l4"; {setting}')
    text = (folder / "commands.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = (each for each in text.splitlines() if "build_engine.py" in each)
    words = [word for word in shlex.split(line)[2:] if not word.startswith("--timing-cache")]
    done = run(folder, folder / "build_engine.py", *words, "--serialize-only", "--compute-capability", "SM89")
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "build.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "quant_manifest.json").read_text(encoding="utf-8"))
    assert facts["onnx_sha256"] == manifest["sha256"] and facts["engine_bytes"] > 10_000


def test_open_dimensions_are_built_for_the_range_that_is_given(tmp_path: Path) -> None:
    model = taken()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    refused = built(tmp_path, model, *ALONE)
    assert refused.returncode == 1 and "dimensions are open (x is (-1, " in refused.stderr
    sides = [str(dim.dim_value) for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    words = [
        word
        for name, size in (("min", 1), ("opt", 2), ("max", 4))
        for word in (f"--{name}", f"x={size}x{'x'.join(sides)}")
    ]
    done = built(tmp_path, model, *ALONE, *words)
    assert done.returncode == 0, done.stderr
    shapes = json.loads((tmp_path / "build.json").read_text(encoding="utf-8"))["shapes"]["x"]
    assert [shape[0] for shape in shapes] == [1, 2, 4]


@pytest.mark.parametrize("case", ["zero point", "bias"])
def test_what_the_parser_refuses_is_told_with_the_node(case: str, tmp_path: Path) -> None:
    model = rtx_engine.with_names(CASES[case][0]())
    done = built(tmp_path, model, *ALONE)
    assert done.returncode == 1 and not (tmp_path / "engine.plan").exists()
    names = {node.name for node in model.graph.node}
    assert any(f"`{name}`, node " in done.stderr for name in names) and "cannot read model.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_no_version_builds_for_is_told(tmp_path: Path) -> None:
    done = built(tmp_path, taken(), "--serialize-only", "--compute-capability", "SM87")
    assert done.returncode == 1 and "does not build for SM87" in done.stderr
    forced = built(tmp_path, taken(), *ALONE, "--force-precision")
    assert forced.returncode == 1 and "nothing to force" in forced.stderr


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_built_that_would_be_loaded(tmp_path: Path) -> None:
    done = built(tmp_path, taken())
    assert done.returncode == 1 and "build on the machine that is to run the engine" in done.stderr
