"""Diagnostic codes of selectors: what a recipe picks in a graph."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_SETUP = "yolov8n.onnx: the detector of examples/people, beside the recipe"
_RECIPE = """\
recipe example
model onnx "yolov8n.onnx"
data calib from npz "calib.npz"
quantize static {{ weights int8; activations uint8; calibrate minmax on calib }}
{line}
target ort
"""


def _example(line: str) -> str:
    return _RECIPE.format(line=line)


CODES: dict[str, CodeDoc] = {
    "unknown-op": CodeDoc(
        "a word after `op` is no operator",
        "Each name after `op` has to be an operator of some ONNX operator set, or occur in the model (custom "
        "operators). Operators are written as in ONNX, with their capitals: Conv, MaxPool, LayerNormalization.",
        _example("keep op Convolution in float32"),
        _SETUP,
        "plan",
    ),
    "selector-empty": CodeDoc(
        "a selector matches nothing",
        "A rule that picks nothing would silently do nothing, so it is an error, at the part that matched nothing. A "
        "name, pattern or scope written out has to match something even inside `or` and `not`; `expect 0` says that "
        "nothing is meant to match. Selectors see the canonical graph: BatchNormalization is folded into the Conv "
        "before it, and Identity, Dropout and Constant nodes are gone.",
        _example('keep under "/model.23" and op Concat in float32'),
        _SETUP,
        "plan",
    ),
    "selector-count": CodeDoc(
        "a selector matches another number than `expect` says",
        "`expect N` pins how many nodes (after `tensor`: tensors; after `A -> B`: connections) of the canonical graph "
        "are meant, so that a model exported anew cannot change what a recipe does without being noticed.",
        _example("keep decode_head expect 3 in float32"),
        _SETUP,
        "plan",
    ),
    "selector-too-few": CodeDoc(
        "`first N of` or `last N of` has fewer than N to take from",
        "Taking the first 3 of 2 nodes is a wrong idea of the model, so it is an error rather than both of them.",
        _example("keep last 3 of op Resize in float32"),
        _SETUP,
        "plan",
    ),
    "selector-no-path": CodeDoc(
        "`between A and B` has no path",
        "`between A and B` picks the nodes on every path from a node of A to a node of B, both ends included, along "
        "the direction of the data. When data flows the other way, the two have to be swapped.",
        _example('keep between op Softmax and "/model.0/conv/Conv" in float32'),
        _SETUP,
        "plan",
    ),
    "selector-kind": CodeDoc(
        "nodes are named where tensors are expected, or the other way round",
        'A `tensor "..."` selects tensors, everything else selects nodes; one selector cannot combine both with `and`, '
        "`or` or `not`. The tensors that nodes read or write are named by `inputs of` and `outputs of`.",
        _example('keep op Conv and tensor "images" in float32'),
        _SETUP,
        "plan",
    ),
}
