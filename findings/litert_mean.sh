#!/usr/bin/env bash
# LiteRT's int8 MEAN takes 0.25 for 1: its own kernels round twice, and only XNNPACK's is right.
#
# The mean of 1, 0, 0, 0 of the same scale in and out is 0.25 of a step. The optimized and the reference kernel fold the division by
# the count into the fixed-point multiplier and round twice on the way: 0.25 becomes 0.5 becomes 1. -0.25 becomes 0, -0.5 becomes -1.
# Over 2 x 2 elements more than one result in four is a step off, with errors of up to 3/4 of a step; the more elements, the fewer.
# XNNPACK, the default where it is built in, has errors of half a step, as rounding must.
#
# A global average pool of a Keras network is a MEAN. Whoever takes the reference kernels for the exact answer compares against these.
#
# ai-edge-litert 2.3.0, flatbuffers 25.12.19, numpy 2.4.6; any CPU.
# Seen, the means 1/4, 2/4 and 3/4, and how many of 16,000 random results (scales 0.05 in, 0.04 out) are not the nearest:
#   XNNPACK    0 0 1   2 x 2 0.0 %, 3 x 3 0.0 %, 7 x 7 0.0 %; at most 0.50 of a step off
#   optimized  1 1 1   2 x 2 25.4 %, 3 x 3 11.3 %, 7 x 7 2.6 %; at most 0.75 of a step off
#   reference  1 1 1   2 x 2 25.4 %, 3 x 3 11.3 %, 7 x 7 2.6 %; at most 0.75 of a step off
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
"$work/env/bin/python" - <<'EOF' 2> "$work/log" || { cat "$work/log"; exit 1; }
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

KERNELS = {
    "XNNPACK": OpResolverType.BUILTIN, "optimized": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}


def tensor(model, shape, scale, zero=0, data=None):
    """Add an int8 tensor, or int32 where it has data, and give its index."""
    made = schema.TensorT()
    made.shape, made.buffer = list(shape), 0
    made.type = schema.TensorType.INT8 if data is None else schema.TensorType.INT32
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array(data, np.int32).tobytes(), np.uint8)
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
    else:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
    model.subgraphs[0].tensors.append(made)
    return len(model.subgraphs[0].tensors) - 1


def model(operator, kind, options, x, y, constant=None, version=2):
    """The bytes of a model of one operator; x and y are (shape, scale, zero point)."""
    made, graph, code, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    made.version, made.buffers, made.subgraphs, graph.tensors = 3, [schema.BufferT()], [graph], []
    graph.inputs = [tensor(made, *x)]
    given = [] if constant is None else [tensor(made, [len(constant)], None, data=constant)]
    graph.outputs = [tensor(made, *y)]
    code.builtinCode, code.deprecatedBuiltinCode, code.version = operator, operator, version
    made.operatorCodes, graph.operators = [code], [node]
    node.opcodeIndex, node.inputs, node.outputs = 0, graph.inputs + given, graph.outputs
    node.builtinOptionsType, node.builtinOptions = kind, options
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content, x):
    """The integers that each set of kernels makes of x."""
    found = {}
    for name, kernels in KERNELS.items():
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        found[name] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(int)
    return found


def mean(shape, scale):
    options = schema.ReducerOptionsT()
    options.keepDims = False
    return model(schema.BuiltinOperator.MEAN, schema.BuiltinOptions.ReducerOptions, options, (shape, 0.05),
                 ((shape[0], shape[3]), scale), constant=(1, 2))


quarters = np.zeros((3, 2, 2, 1), np.int8)
quarters[:, 0, 0, 0] = 1, 2, 3
small = run(mean(quarters.shape, 0.05), quarters)
off = {name: {} for name in KERNELS}
worst = dict.fromkeys(KERNELS, 0.0)
for side in 2, 3, 7:
    x = np.random.default_rng(side).integers(-128, 128, (2000, side, side, 8)).astype(np.int8)
    exact = x.astype(int).mean((1, 2)) * 0.05 / 0.04
    inside = np.abs(exact) < 127
    for name, found in run(mean(x.shape, 0.04), x).items():
        error = np.abs(found - exact)[inside]
        off[name][side] = float((error > 0.51).mean())
        worst[name] = max(worst[name], float(error.max()))
for name in KERNELS:
    shares = ", ".join(f"{side} x {side} {100 * share:.1f} %" for side, share in off[name].items())
    print(f"{name:9}  {' '.join(str(v) for v in small[name].ravel())}   {shares}; at most {worst[name]:.2f} of a step off")
assert all(share == 0 for share in off["XNNPACK"].values()) and small["XNNPACK"][0] == 0, "XNNPACK does not round to the nearest"
for name in "optimized", "reference":
    assert small[name][0] == 1 and off[name][2] > 0.15 and worst[name] > 0.7, f"{name}: rounds once now"
EOF
