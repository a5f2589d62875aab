"""Session options without which ONNX Runtime answers otherwise than the artifact says."""

from __future__ import annotations

from collections.abc import Mapping

from qdsl.spec.plan import Plan

# By default MatMulNBits may quantize its float activations to int8 on the fly, which no plan asks for; 1 is float32.
FLOAT_PRODUCTS = {"session.qdq_matmulnbits_accuracy_level": "1"}
# Without VNNI int8 weights run as uint8, whose sums are exact; elsewhere it changes nothing.
EXACT_SUMS = {"session.x64quantprecision": "1"}
_KERNEL = "MatMulNBits"


def session_options(plan: Plan) -> Mapping[str, str]:
    """What to give `SessionOptions.add_session_config_entry` for an artifact of `plan`, by name."""
    products = FLOAT_PRODUCTS if any(node.prediction.kernel == _KERNEL for node in plan.nodes) else {}
    asked = {setting for fact in plan.facts if fact.kind == "target" for setting in fact.settings}
    return {**products, **(EXACT_SUMS if ("exact", "session") in asked else {})}
