"""Where our placement lets the layers of ResNet-18 write int8, beside what real engines of it do: NVIDIA's, of TensorRT
8.x on an A100, one with the skips of its additions quantized and one without."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_dumps import QAT, RESIDUAL, real
from plan_tools import decided
from resnet18 import resnet18

from qdsl.describe.placements import placements
from qdsl.graph import from_proto

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tensorrt.md"
BEGIN, END = "<!-- resnet18: begin -->\n", "<!-- resnet18: end -->"
HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz" { take 4 }
quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }
target tensorrt
"""
NO_SKIPS = "place { leave skip of residual_add }\n"
TITLES = (f"{kind}, {which}" for kind in ("planned", "engine") for which in ("with skips", "without"))


def planned(rules: str = "") -> dict[str, str]:
    """What each layer may write: the type of the Q behind it, else float."""
    view = from_proto(resnet18()).view()
    found = placements([decided(view, rules, head=HEAD, target="tensorrt")])
    layers = [node for node in found.nodes if node.op in ("Conv", "Gemm")]
    assert all(node.placed["tensorrt"].runs == "integer" for node in layers)
    return {node.node: node.placed["tensorrt"].behind.type or "float" for node in layers}


def built(name: str) -> dict[str, str]:
    """What each layer of the engine writes, by the name of its weight."""
    found = {}
    for layer in real(name)["Layers"]:
        weight, _, _ = layer["Name"].partition(".weight + ")
        if weight != layer["Name"] and not weight.startswith("Reformatting"):
            found[weight] = "int8" if "Int8" in layer["Outputs"][0]["Format/Datatype"] else "float"
    return found


@pytest.mark.parametrize(("engine", "rules", "writing"), [(RESIDUAL, "", 19), (QAT, NO_SKIPS, 8)])
def test_layers_may_write_int8_where_those_of_real_engines_do(engine: str, rules: str, writing: int) -> None:
    ours, theirs = planned(rules), built(engine)
    assert ours == theirs and len(ours) == 21
    assert sum(each == "int8" for each in ours.values()) == writing


def test_the_page_shows_both_node_by_node(request: pytest.FixtureRequest) -> None:
    columns = [planned(), planned(NO_SKIPS), built(RESIDUAL), built(QAT)]
    head = f"| layer | {' | '.join(TITLES)} |\n| --- |{' --- |' * len(columns)}\n"
    rows = [f"| {name} | {' | '.join(each[name] for each in columns)} |" for name in columns[0]]
    table = head + "\n".join(rows) + "\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, after = rest.partition(END)
    if request.config.getoption("--regen"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}", encoding="utf-8")
    else:
        assert shown == table, "it changed: `pytest tests/test_tensorrt_resnet18.py --regen`"
