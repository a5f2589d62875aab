"""Diagnostic codes of loading, editing and saving models."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_RECIPE = """recipe bad
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights int8; activations uint8; calibrate minmax on calib }
target ort
"""


def _doc(summary: str, explanation: str, setup: str, verb: str = "plan", more: str = "", cure: str = "") -> CodeDoc:
    """`more` is a line that the recipe needs beside the usual ones."""
    return CodeDoc(summary, explanation, _RECIPE.replace("data calib", f"{more}data calib"), setup, verb, cure)


_FILE = {
    "model-missing": _doc(
        "there is no model file at the path",
        "The path of a `model` statement is taken from the folder of the recipe that wrote it.",
        "no model.onnx",
        cure="the path starts from the folder of the recipe",
    ),
    "model-unreadable": _doc(
        "the model file is not ONNX, is cut short or cannot be read",
        "An ONNX file is one protobuf message. A download that stopped early, an HTML error page or a file "
        "pointer of a "
        "version control system is none.",
        "model.onnx is cut short",
        cure="export or download it again",
    ),
    "model-too-large": _doc(
        "the model exceeds a limit on file size, nodes or nesting, or one proto cannot hold it",
        "Models are not trusted: sizes are bounded before anything is built. Weights of more than 2 GB need "
        "external data.",
        "model.onnx has bodies nested 20 deep",
        cure="take apart what nests, or what has so many nodes",
    ),
    "model-opset": _doc(
        "the model's ONNX opset is missing, too old or too new",
        "ONNX Runtime promises opset 7 and later, and takes up to 26 (IR version 13) in its release 1.31.",
        "model.onnx uses opset 28",
    ),
    "model-functions": _doc(
        "the model's local functions cannot be expanded",
        "Functions are expanded on loading. They may not call themselves, nor grow beyond the limit on "
        "nodes. As a note, "
        "the code says that functions were expanded.",
        "model.onnx has a function that calls itself",
        cure="export the model again without local functions",
    ),
    "model-write": _doc(
        "the model cannot be written",
        "The folder is missing or not writable, or the disk is full. What stood there before is unharmed.",
        "the build folder is a file",
        "library",
        cure="look at the permissions and the free space of the folder",
    ),
}

_GRAPH = {
    "model-duplicate-tensor": _doc(
        "a tensor is written more than once",
        "ONNX graphs are in single assignment form: each tensor is a graph input, a constant or one output "
        "of one node.",
        "two nodes of model.onnx write the same tensor",
        cure="export the model again: each tensor is written once",
    ),
    "model-dangling": _doc(
        "something reads a tensor that nothing writes",
        "Every input of a node and every graph output must be a graph input, a constant or an output of a node.",
        "a node of model.onnx reads an unknown tensor",
        cure="export the model again: the graph lacks a part",
    ),
    "model-cycle": _doc(
        "nodes wait for each other",
        "An ONNX graph has no cycles; loops are Loop and Scan nodes with a body.",
        "two nodes of model.onnx read each other",
        cure="export the model again: a graph has no cycles",
    ),
    "model-node": _doc(
        "a node does not fit its operator",
        "The number of inputs and outputs and the types of attributes are held against the operator's definition in "
        "ONNX.",
        "a Relu of model.onnx has two inputs",
        cure="export the model again, or mend the node",
    ),
    "model-dtype": _doc(
        "a tensor has an element type that is not supported",
        "The element type is not one that ONNX defines, or one that no supported opset has.",
        "a constant of model.onnx has element type 99",
        cure="export the model again with element types that ONNX defines",
    ),
    "model-dims": _doc(
        "a declared dimension or size is beyond any bound",
        "Dimensions are checked before anything is allocated for them.",
        "a constant of model.onnx has a dimension of 2^40",
    ),
    "model-tensor-size": _doc(
        "the data of a tensor does not match its type and shape",
        "The weights were stripped from the file, or it is damaged.",
        "a constant of model.onnx is 4 bytes short",
    ),
    "model-input-shape": _doc(
        "a graph input cannot be given this shape",
        "`shape` in an `input` block fixes free dimensions of an input that the model has; it cannot change "
        "fixed ones.",
        "model.onnx has another input",
        more="input { shape [1, 3, 9, 9] }\n",
    ),
    "model-non-finite": _doc(
        "weights hold NaN or infinity",
        "Such a tensor has no range to quantize to. Infinities are accepted where they are meant, as in "
        "attention masks.",
        "a weight of model.onnx is NaN",
        "compile",
    ),
    "model-upgrade": _doc(
        "the model's opset cannot be raised to one that a choice in the recipe needs",
        "Ranges found at run time need opset 11, scales per block 21, 2-bit integers 25, anything else 10. Models of "
        "an older opset are raised to it; ONNX's version converter does not know every operator in every version.",
        "model.onnx, of opset 8, normalises each element for itself",
    ),
}

_EXTERNAL = {
    "model-external-path": _doc(
        "external data lies outside the model's folder",
        "A model may name data files beside itself or below: no absolute path, no `..`, no link that leads out.",
        "the external data of model.onnx is ../secret",
    ),
    "model-external-missing": _doc(
        "an external data file is not there",
        "Exporters write large weights to a file beside the model; both must be copied together.",
        "the external data of model.onnx is missing",
    ),
    "model-external-size": _doc(
        "an external tensor does not fit its file, or its own type and shape",
        "Offset and length are checked against the file before it is read.",
        "the external data of model.onnx is too short",
    ),
}

_NOTES = {
    "model-shapes": _doc(
        "shapes could not be inferred (warning)",
        "Selectors on channels and predictions of size then know declared shapes only.",
        "model.onnx declares an output of another type than is computed",
        cure="mend the types and shapes that the model declares, or export it again",
    ),
    "model-node-names": _doc(
        "nodes without a name of their own were given one (note)",
        "A missing or repeated name is replaced by one made from the node's output and operator.",
        "the nodes of model.onnx have no names",
    ),
    "model-body": _doc(
        "bodies of If, Loop and Scan are left untouched (note)",
        "Nothing inside a body is quantized or rewritten; tensors that a body reads keep their names.",
        "model.onnx has an If",
    ),
    "model-float16": _doc(
        "a model of 16 bit floats is read as float32 (note)",
        "Integers come from float32 values: a model whose Conv, MatMul or the like have float16 or bfloat16 weights is "
        "widened, with everything of that type in it, inputs and outputs included. Values stay what they are.",
        "model.onnx is a Conv in float16",
    ),
    "model-constant-inputs": _doc(
        "graph inputs with a stored value became constants (note)",
        "Files of IR version 3 list every weight as an input; callers can no longer override them.",
        "model.onnx lists its weights as inputs",
    ),
    "model-optimized": _doc(
        "an optimizer has fused operators with weights (warning)",
        "ONNX Runtime saves models after its optimizations, with FusedConv in place of Conv and Relu, or Attention in "
        "place of many products. No integer kernel takes those, and they cannot be taken apart again.",
        "model.onnx has a FusedConv",
    ),
    "model-training-info": _doc(
        "training information is left out (warning)",
        "Only the inference graph is read and written.",
        "model.onnx has training information",
    ),
}

CODES: dict[str, CodeDoc] = {**_FILE, **_GRAPH, **_EXTERNAL, **_NOTES}
