"""Damaged models: whatever the bytes, a model or diagnostics come of them. (Damaged recipes: test_lang_fuzz.)

`QDSL_FUZZ_SEED` repeats a run.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bad_setups import conv
from data_cases import graph_of, small_net
from graph_cases import IF_TEXT, conv_model, parse
from model_fuzz import RECIPE, run
from onnx import helper

import qdsl.api
from qdsl.diag import Diagnostics
from qdsl.graph import from_proto
from qdsl.lang import loads
from qdsl.plan import decide

TINY = Path(__file__).parent / "data" / "yolov8_tiny_torchscript.onnx"
PATIENCE = 60  # seconds for one file


def models() -> list[bytes]:
    protos = [small_net(), conv_model(), conv(), parse(IF_TEXT)]
    return [TINY.read_bytes(), *(proto.SerializeToString() for proto in protos)]


def outcomes(seed: int, rounds: int, path: Path) -> tuple[Counter[str], list[str]]:
    """How often what came out, and the faults. After a crash of the process the next turn goes on in a new one."""
    found: Counter[str] = Counter()
    faults: list[str] = []
    turn = 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["model_fuzz"])
    while turn < rounds:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(seed, range(turn, rounds), models(), path, theirs))
        process.start()
        theirs.close()
        try:
            while turn < rounds:
                if not ours.poll(PATIENCE):
                    raise EOFError
                kind, value = ours.recv()
                if kind == "turn":
                    turn = value
                    continue
                found[value if kind == "done" else kind] += 1
                faults += [f"turn {turn}: {value}"] if kind == "fault" else []
                turn += 1
        except EOFError:
            process.kill()
            process.join()
            faults.append(f"turn {turn}: no answer, exit code {process.exitcode}")
            turn += 1
        process.join()
    return found, faults


@pytest.mark.slow
def test_a_few_damaged_models(tmp_path: Path) -> None:
    found, faults = outcomes(7, 60, tmp_path / "fuzz.onnx")
    assert not faults
    assert found["refused"] and found["plan"]


@pytest.mark.slow
def test_many_damaged_models(tmp_path: Path) -> None:
    seed = int(os.environ.get("QDSL_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    found, faults = outcomes(seed, 600, tmp_path / "fuzz.onnx")
    print(f"seed {seed}: {dict(found)}")  # noqa: T201 (pytest shows it when the test fails)
    assert not faults, f"seed {seed}\n" + "\n".join(faults[:5])


def test_an_output_that_nobody_reads_holds_no_pair() -> None:
    """Found by damaging models: one half of a Split was dead."""
    nodes = [
        helper.make_node("Conv", ["images", "w1"], ["c1"], name="conv1"),
        helper.make_node("Split", ["c1", "halves"], ["kept", "dead"], name="split1", axis=1),
        helper.make_node("Conv", ["kept", "w2"], ["y"], name="conv2"),
    ]
    constants = {
        "w1": np.ones((8, 3, 1, 1), np.float32),
        "w2": np.ones((2, 4, 1, 1), np.float32),
        "halves": np.array([4, 4]),
    }
    view = from_proto(graph_of(nodes, ["y"], constants=constants)).view()
    plan = decide(loads(RECIPE, name="fuzz.q").recipe, view, "ort", float_bytes=1000, diags=Diagnostics()).plan
    assert {tensor.tensor for tensor in plan.tensors} == {"images", "c1", "kept", "y"}


def test_an_output_of_unknown_rank_is_no_fault(tmp_path: Path) -> None:
    """Found by damaging models: ONNX's checker asks for a shape, ONNX Runtime does not."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv1"),
        helper.make_node("Reshape", ["c", "to"], ["y"], name="reshape1"),
    ]
    model = graph_of(nodes, ["y"], constants={"w": np.ones((2, 3, 1, 1), np.float32)})
    model.graph.input.append(helper.make_tensor_value_info("to", 7, ["rank"]))
    (tmp_path / "fuzz.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "fuzz.q").write_text(RECIPE)
    np.savez(tmp_path / "calib.npz", images=np.ones((2, 3, 8, 8), np.float32), to=np.array([[2, 64]] * 2))
    result = qdsl.api.compile(tmp_path / "fuzz.q", out=tmp_path / "build", workers=1)
    assert result.targets[0].verification.as_predicted
    assert sorted(path.name for path in (tmp_path / "build/fuzz/ort").iterdir()) == [
        "bench",
        "manifest.json",
        "model.onnx",
    ]


def test_a_constant_that_is_an_output_is_no_fault(tmp_path: Path) -> None:
    """Found by damaging models: detectors give their anchors out."""
    nodes = [helper.make_node("Conv", ["images", "w"], ["y"], name="conv1")]
    constants = {"w": np.ones((2, 3, 1, 1), np.float32), "anchors": np.ones((4, 2), np.float32)}
    model = graph_of(nodes, ["y", "anchors"], constants=constants)
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info("anchors", 1, [4, 2]))
    (tmp_path / "fuzz.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "fuzz.q").write_text(RECIPE)
    np.savez(tmp_path / "calib.npz", images=np.ones((2, 3, 8, 8), np.float32))
    result = qdsl.api.compile(tmp_path / "fuzz.q", out=tmp_path / "build", workers=1)
    assert result.targets[0].verification.as_predicted
