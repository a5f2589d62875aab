"""Every diagnostic code of the plan: its example raises it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_tools import detector, quantized, two_convs

from qdsl.describe.explain import explain
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.diag.codes.plan import CODES
from qdsl.lang import loads
from qdsl.plan import decide, gate
from qdsl.spec.plan import PLAN_VERSION
from qdsl.spec.plan_json import from_json, to_json

MODELS = {
    "detector.onnx": detector,
    "quantized.onnx": quantized,
    "newer.onnx": lambda: replace(two_convs(), opset=21),
}
# Those that need no file beside the recipe, and no pass before the plan; `test_codes.py` runs all examples with theirs.
ALONE = sorted(code for code, doc in CODES.items() if "calib.cache" not in doc.setup and "equalize" not in doc.example)


def raised(code: str) -> list[Diagnostic]:
    """What the example of `code` raises or flags."""
    doc = CODES[code]
    recipe = loads(doc.example, name="example.q").recipe
    view = next((make() for word, make in MODELS.items() if doc.setup.startswith(word)), two_convs())
    target = recipe.targets[0].name
    diags = Diagnostics()
    try:
        decisions = decide(recipe, view, target, float_bytes=1000, diags=diags)
        if doc.verb == "explain":
            explain(decisions, "no/such/node")
        if "another version" in doc.setup:
            from_json(to_json(replace(decisions.plan, version=PLAN_VERSION - 1)))
    except QdslError as error:
        return list(error.diagnostics)
    flagged = [Diagnostic(flag.code, flag.message, help=flag.help) for flag in decisions.plan.flags]
    return [*diags, *gate(recipe, target), *flagged]


@pytest.mark.parametrize("code", ALONE)
def test_the_example_raises_its_code(code: str, request: pytest.FixtureRequest) -> None:
    if "target tensorrt" not in CODES[code].example:
        request.getfixturevalue("ort_alone")
    found = raised(code)
    assert code in [d.code for d in found]
    assert all(d.headline and not d.headline.endswith(".") for d in found)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_explained(code: str) -> None:
    doc = CODES[code]
    assert doc.summary.endswith(".") and len(doc.explanation) > len(doc.summary)
