"""Diagnostic codes of auditing finished files."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "waiver-unused": CodeDoc(
        "an `allow` lets nothing stand",
        "`allow RULE on X` waives findings of that rule on what X picks in the audited file. Where the audit finds "
        "none there, the statement is out of date or picks the wrong nodes, and would hide a later finding that nobody "
        "has looked at. `compile` and `plan` do not audit, and say nothing of it.",
        """recipe example
model onnx "model.onnx"
quantize none
target ort
allow half_quantized_op on op Conv because "it was meant"
""",
        setup="model.onnx is a float Conv that nothing is wrong with",
        verb="audit",
    ),
    "fix-place": CodeDoc(
        "`qdsl audit` was to write over the file that it audits, or over its weights",
        "The mended copy is a file of its own, so that both can be compared: `qdsl diff before.onnx after.onnx`.",
        "recipe example\n",
        verb="library",
    ),
    "graph-absent": CodeDoc(
        "the package that lays out drawn graphs is not installed",
        "The page of `qdsl audit --html` is drawn with fast-sugiyama, which is an extra: qdsl without it stays small. "
        "The other formats need nothing more.",
        "recipe example\n",
        verb="library",
        cure="install the extra `graph`",
    ),
}
