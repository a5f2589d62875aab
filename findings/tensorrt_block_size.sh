#!/usr/bin/env bash
# TensorRT-RTX does not read the block size of int4 weights: it cuts them by the number of scales, without a word.
#
# ONNX lets the last block be short: 96 values in blocks of 64 have 2 scales, for 64 and for 32 values. Any block size from 48 to 95
# fits 96 values and 2 scales, and the attribute tells which is meant. TensorRT-RTX divides: 2 scales are for 48 values each,
# whatever the file says. The engines for 48 and 64 are the same, byte for byte, and multiply 16 of 96 values by the scale of
# others, with no message of any level. What does not divide is refused: 100 values in 3 blocks of 40.
#
# So pad weights to whole blocks, or take a block size that divides; that a file is taken says nothing of a short last block.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, ml-dtypes 0.6.0.
# Seen, of the same integers and scales (1 and 1/8) and x of ones, one process an engine:
#   blocks of 48:  onnxruntime y[0,0] = 21.0, 0 messages, the engine of 48
#   blocks of 64:  onnxruntime y[0,0] = 17.5, 0 messages, the engine of 48
#   blocks of 95:  onnxruntime y[0,0] = 73.5, 0 messages, the engine of 48
#   scales swapped, blocks of 48:  another engine
#   100 values in 3 blocks:  refused, The quantization axis must divide into whole blocks
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 ml-dtypes==0.6.0 \
    tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
"$work/env/bin/python" - <<'PYTHON'
import os
import pickle
import re
import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import tensorrt_rtx_bindings as trt
from onnx import numpy_helper, parser


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.messages = []

    def log(self, severity, message):
        self.messages.append((severity.name, message))


log = builder = None  # each child makes its own
kept = []


def build(made, capability="SM86"):
    """What the layer of the one weighted node reads (activation and weight), by the builder's own list of layers, or why
    there is no engine; and how many warnings and errors there were."""
    onnx.checker.check_model(made, full_check=True)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    taking = trt.OnnxParser(network, log)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    log.messages.clear()
    kept.extend((network, taking, config))
    assert taking.parse(made.SerializeToString()), taking.get_error(0).desc()
    kept.append(builder.build_serialized_network(network, config))
    loud = [message for severity, message in log.messages if severity in ("WARNING", "ERROR", "INTERNAL_ERROR")]
    if kept[-1] is None:
        return loud[0], len(loud)
    layers = [line for _, message in log.messages if message.startswith("Layers:") for line in message.splitlines()]
    (line,) = (line for line in layers if re.search("LayerType: runtime_fusion", line))
    return ", ".join(re.findall(r"Datatype: (\w+)", line.partition("Outputs: ")[0])[:2]), len(loud)


values = np.random.default_rng(0)
whole = values.integers(-7, 8, (100, 32)).astype(ml_dtypes.int4)
scales = np.repeat(np.float32([[1], [1 / 8], [1 / 4]]), 32, axis=1)


def product(size, block, scales):
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[8,{size}] x) => (float[8,32] y) {{
        k = DequantizeLinear<axis = 0, block_size = {block}>(w, s)  y = MatMul(x, k) }}"""
    )
    constants = {"w": whole[:size], "s": scales}
    made.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    return made


def apart(made):
    """The build in a process of its own: how many messages, and the engine."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        global builder, log
        log = Log()
        builder = trt.Builder(log)
        with open(writing, "wb") as told:
            try:
                pickle.dump((*build(made), bytes(memoryview(kept[-1]))), told)
            except AssertionError as refused:
                pickle.dump((str(refused), 0, b""), told)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:
        found = pickle.load(told)
    os.waitpid(child, 0)
    return found


def by_onnxruntime(made):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((8, 96), np.float32)})[0]


engines, outputs, good = {}, set(), True
for block in (48, 64, 95):
    made = product(96, block, scales[:2])
    reads, messages, engines[block] = apart(made)
    y = float(by_onnxruntime(made)[0, 0])
    outputs.add(y)
    same = "the engine of 48" if engines[block] == engines[48] else "another engine"
    print(f"blocks of {block}:  onnxruntime y[0,0] = {y}, {messages} messages, {same}")
    good &= messages == 0 and engines[block] == engines[48] and reads == "Float, Int4"
swapped = apart(product(96, 48, scales[1::-1].copy()))[2]
print(f"scales swapped, blocks of 48:  {'another engine' if swapped != engines[48] else 'the engine of 48'}")
why, _, _ = apart(product(100, 40, scales))
said = "The quantization axis must divide into whole blocks"
print(f"100 values in 3 blocks:  refused, {said if said in why else why}")
good &= swapped != engines[48] and said in why and len(outputs) == 3
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
