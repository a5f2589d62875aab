"""Files of other quantizers, mended for TensorRT, and what its parser and builder make of them: every node that the
parser refuses is named by the audit before, and what is not named any more builds in int8 (`test_rtx.py` says with
what)."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import rtx_engine
from compile_tools import ROOT
from random_graphs import random_model
from random_pairs import with_random_pairs
from retargeting import VARIANTS, by_onnxruntime, mended_file
from rtx_engine import DROPPED, INT8, examine
from rtx_held import Held, held
from test_audit_retarget import MENDED, retargeted
from test_rtx import foreign

from qdsl.graph import to_proto

pytestmark = [
    pytest.mark.slow,
    pytest.mark.rtx,
    pytest.mark.skipif(rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"),
]

# Files of other tools of which nothing stays that TensorRT refuses, and the layers that have no quantized weights.
TAKEN: dict[str, set[str]] = {
    "modelopt.onnx": {"fc"},
    "modelopt_fp32.onnx": {"fc"},
    "quark.onnx": set(),
    "quark_msdomain.onnx": set(),
}


def require_agreement(path: Path) -> Held:
    """Every node that the parser refuses is named, and none that it takes."""
    result = held(onnx.load(path))
    unsaid = result.refused_unsaid - {""}  # of a constant that is refused no node is told
    assert (unsaid, result.said_not_refused) == (frozenset(), frozenset()), path.name
    assert (result.dropped_unsaid, result.said_not_dropped) == (frozenset(), frozenset()), path.name
    return result


@pytest.mark.parametrize("name", MENDED)
def test_small_files_are_taken_once_they_are_mended(name: str) -> None:
    make, _ = MENDED[name]
    engine = examine(to_proto(retargeted(make())[0]))
    assert engine.stage == "built", engine.refused
    assert set(engine.verdicts.values()) <= {INT8}


@pytest.mark.parametrize("name", VARIANTS)
def test_files_of_onnxruntimes_quantizer(name: str, tmp_path: Path) -> None:
    """Its defaults cannot be mended, and each node that keeps the file out is named; symmetric ones can."""
    made, out = by_onnxruntime(tmp_path, VARIANTS[name].options), tmp_path / "out.onnx"
    left = mended_file(made, out)
    assert left == VARIANTS[name].left
    before, after = require_agreement(made), require_agreement(out)
    assert before.stage == ("built" if name == "symmetric, float biases" else "parse")
    assert after.stage == ("parse" if left else "built")
    if not left:
        assert list(examine(onnx.load(out)).verdicts.values()) == [INT8] * 5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["defaults", "symmetric", "symmetric uint8"])
@pytest.mark.parametrize(("model", "convs"), [("steel/steel", 38), ("cracks/mobilenet_v2_050", 52)])
def test_networks_by_onnxruntimes_quantizer(model: str, convs: int, name: str, tmp_path: Path) -> None:
    made = by_onnxruntime(tmp_path, VARIANTS[name].options, onnx.load(ROOT / "examples" / f"{model}.onnx"))
    left = mended_file(made, tmp_path / "out.onnx")
    before, after = require_agreement(made), require_agreement(tmp_path / "out.onnx")
    assert before.stage == "parse"
    if VARIANTS[name].left:
        assert left.keys() >= {"zero_point_not_zero"} and after.stage == "parse"
        return
    assert not left.keys() & {"zero_point_not_zero", "unsigned_integers", "bias_in_integers"}
    mended = onnx.load(tmp_path / "out.onnx")
    convolutions = {node.name for node in mended.graph.node if node.op_type == "Conv"}
    verdicts = examine(mended).verdicts
    assert {verdicts[each] for each in convolutions} == {INT8} and len(convolutions) == convs


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["pairs", "quantizer"])
def test_random_files(kind: str, seed: int, tmp_path: Path) -> None:
    """Pairs at random places, as no quantizer would put them, and symmetric files of onnxruntime's."""
    if kind == "pairs":
        path = tmp_path / "made.onnx"
        onnx.save(with_random_pairs(random_model(seed), seed), path)
    else:
        types = {"activation_type": "u8"} if seed % 2 else {}
        form = {"quant_format": "operators"} if seed % 5 == 0 else {}
        options = {**types, **form, "per_channel": seed % 4 > 1, "extra_options": {"ActivationSymmetric": True}}
        path = by_onnxruntime(tmp_path, options, random_model(seed))
    left = mended_file(path, tmp_path / "out.onnx")
    require_agreement(path)
    after = require_agreement(tmp_path / "out.onnx")
    if not left:
        assert after.stage == "built"


def test_files_of_other_tools(testdata: Path, tmp_path: Path) -> None:
    for path in foreign(testdata):
        out = tmp_path / path.name
        left = mended_file(path, out)
        require_agreement(path)
        after = require_agreement(out)
        assert (not left) == (path.name in TAKEN), path.name
        if not left:
            assert after.stage == "built", path.name
            verdicts = examine(onnx.load(out)).verdicts
            assert {name for name, verdict in verdicts.items() if verdict == DROPPED} == TAKEN[path.name]
            assert set(verdicts.values()) <= {INT8, DROPPED}
