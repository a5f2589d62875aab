"""Diagnostic codes of float16."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_HALF = """recipe example
model onnx "model.onnx"
quantize float { weights float16; activations float16 }
target ort
"""

_SCALES = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { calibrate minmax on calib }
target tensorrt { high_precision float16 }
"""

CODES: dict[str, CodeDoc] = {
    "float16-overflow": CodeDoc(
        "a constant is past float16's range",
        "float16 ends at 65504. Stored so, a larger value would become infinite, and so would what is computed from "
        "it. Leave the nodes that read it in float32; a node that reads one such number alone (an epsilon, a mask) "
        "stays float32 by itself, and the plan says so.",
        _HALF,
        setup="model.onnx is a MatMul by numbers up to 1e5, some of them 1e-9",
        verb="plan",
    ),
    "float16-flushed": CodeDoc(
        "values of a constant become 0 in float16",
        "Values smaller than 3e-08 are nearer to 0 than to float16's smallest number. In weights this is harmless as "
        "a rule: they add nothing that float16 could show. Where they matter, leave the node in float32.",
        _HALF,
        setup="model.onnx is a MatMul by numbers of which some are 1e-9",
        verb="plan",
        cure='`keep "NODE" in float32` where such values matter',
    ),
    "float16-scale": CodeDoc(
        "float16 holds the scale of a pair only coarsely",
        "Below 2^-14 the numbers of float16 lie 2^-24 apart. A scale that has to be one of them is the next one that "
        "is not below what the range asks for, and the integers are made with it: no value is cut off, but the steps "
        "are wider. It is told from an eighth on, which costs 1 dB. Channels a million times smaller than the largest "
        "do not count. A channel of weights comes there below 1e-4, a tensor with a range below 1e-4: float16 itself "
        "holds such values in no finer steps.",
        _SCALES,
        setup="model.onnx is a Conv with a channel 100000 times smaller than the others",
        verb="compile",
    ),
}
