"""Sessions of ONNX Runtime: opened in one place, with the options that each purpose states."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from test_floors import ROOT, sources, tree

from qdsl.graph.sessions import (
    AS_WRITTEN,
    DEPLOYED,
    FUSED,
    LOADING,
    OBSERVING,
    OPTIMIZING,
    WHOLE,
    RuntimeRefusesError,
    Session,
    Settings,
    options,
    refusals,
)
from qdsl.harness import worker

# What a `SessionOptions` can be asked for again.
ASKED = (
    *("intra_op_num_threads", "inter_op_num_threads", "graph_optimization_level", "log_severity_level"),
    *("use_deterministic_compute", "enable_mem_pattern", "enable_cpu_mem_arena", "execution_order"),
    *("execution_mode", "optimized_model_filepath"),
)


def said(made: Any) -> dict[str, Any]:
    return {name: getattr(made, name) for name in ASKED}


def relu(op: str = "Relu") -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], name="one")], "g", value[:1], value[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def test_sessions_are_opened_in_one_place_and_on_devices() -> None:
    names = ("InferenceSession", "SessionOptions")
    users = {
        str(path.relative_to(ROOT))
        for _, path in sources()
        if any(name in path.read_text(encoding="utf-8") for name in names)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in names
    }
    assert users == {"qdsl/graph/sessions.py", "qdsl/harness/worker.py"}


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        (LOADING, {"graph_optimization_level": ort.GraphOptimizationLevel.ORT_DISABLE_ALL}),
        (
            OBSERVING,
            {
                "use_deterministic_compute": True,
                "enable_mem_pattern": False,
                "execution_order": ort.ExecutionOrder.PRIORITY_BASED,
            },
        ),
        (DEPLOYED, {"use_deterministic_compute": True}),
        (OPTIMIZING, {}),
        (
            replace(OPTIMIZING, level=FUSED),
            {"graph_optimization_level": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED},
        ),
        (Settings(threads=0, arena=False), {"intra_op_num_threads": 0, "enable_cpu_mem_arena": False}),
    ],
)
def test_each_purpose_says_how_it_runs(settings: Settings, other: dict[str, Any]) -> None:
    default = said(ort.SessionOptions())
    always = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "log_severity_level": 4}
    assert said(options(settings)) == default | always | other


@pytest.mark.parametrize("as_written", [False, True])
def test_a_device_runs_a_build_as_it_is_run_here(as_written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(ort, "InferenceSession", lambda model, made, providers: opened.append((made, providers)))
    entry = "session.qdq_matmulnbits_accuracy_level"
    worker.session_of("model.onnx", 3, {entry: "1"}, as_written=as_written)
    made, providers = opened[0]
    here = options(replace(DEPLOYED, threads=3, entries={entry: "1"}, level=AS_WRITTEN if as_written else WHOLE))
    # Deterministic kernels may be slower, and a device times what a user gets who asks for nothing.
    assert said(made) == said(here) | {"use_deterministic_compute": False}
    assert made.get_session_config_entry(entry) == here.get_session_config_entry(entry) == "1"
    assert providers == ["CPUExecutionProvider"]


def test_a_session_runs_what_is_asked_of_it() -> None:
    loaded = Session(relu(), DEPLOYED)
    assert (loaded.inputs, loaded.outputs) == (("x",), ("y",))
    assert loaded.types() == {"y": ("tensor(float)", [2])}
    arrays = {"x": np.asarray([-1, 2], np.float32), "unknown": np.zeros(1)}
    assert loaded.run(["y"], arrays)[0].tolist() == [0, 2]
    assert loaded.run([], arrays) == []


def test_the_graph_that_runs_is_written(tmp_path: Path) -> None:
    path = tmp_path / "optimized.onnx"
    Session(relu(), replace(OPTIMIZING, optimized=path))
    assert [node.op_type for node in onnx.load(path).graph.node] == ["Relu"]


def test_what_the_runtime_refuses_is_told_in_its_words() -> None:
    with pytest.raises(RuntimeRefusesError, match="Nonsense") as caught:
        Session(relu("Nonsense"), LOADING)
    assert "ONNXRuntimeError" not in caught.value.reason
    assert ".cc:" not in caught.value.reason and not caught.value.no_memory
    with pytest.raises(RuntimeRefusesError, match="x"):
        Session(relu(), LOADING).run(["y"], {})


def test_memory_is_told_from_other_reasons() -> None:
    with pytest.raises(RuntimeRefusesError, match="not enough memory") as caught, refusals():
        raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc")
    assert caught.value.no_memory
