#!/usr/bin/env bash
# After a failed build for one GPU, TensorRT-RTX makes the next engine of the process for that GPU, and labels it for another.
#
# A Gemm of float32 cannot be built for compute capability 7.5, and TensorRT-RTX says so. What is built after it in the same process
# gets what is left of that attempt: an int8 Conv for 8.6 comes out in float, as it does for 7.5 (tensorrt_turing.sh), with no
# message of any level, from a network, a configuration and even a builder of its own. But for four bytes, two of which say 86,
# it is the engine for 7.5. The one after that is right again, and a build for 7.5 that succeeds leaves nothing behind.
#
# So a script that tries several GPUs or models ships engines that depend on their order: one process per build, which a failed
# build ends.
#
# TensorRT-RTX 1.7.1.116 compiles for a named GPU and needs neither GPU nor driver. It is proprietary: to run this is to accept
# NVIDIA's licence. onnx 1.23.2, numpy 2.4.6.
# Seen, as what the Conv of the engine for 8.6 reads, one process a line:
#   first:                                 Int8, Int8, 0 messages, 273420 bytes
#   after a Conv for 7.5, built:           Int8, Int8, 0 messages, 273420 bytes
#   after a Gemm for 7.5, refused:         Float, Float, 0 messages, 404116 bytes
#   the same, by a builder of its own:     Float, Float, 0 messages, 404116 bytes
#   second after a Gemm for 7.5, refused:  Int8, Int8, 0 messages, 273420 bytes
#   an engine for 7.5:                     Float, Float, 0 messages, 404116 bytes, 4 of them others than after the refusal
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 numpy==2.4.6 tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
"$work/env/bin/python" - <<'PYTHON'
import os
import pickle
import re
import sys

import numpy as np
import onnx
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
    (line,) = (line for line in layers if re.search("LayerType: (correlation|gemm)", line))
    return ", ".join(re.findall(r"Datatype: (\w+)", line.partition("Outputs: ")[0])[:2]), len(loud)


pairs = "q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  k = DequantizeLinear(w, s, z)  y = Conv(d, k)"
values = np.random.default_rng(0)


def model(nodes, shapes, **constants):
    made = parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17]> g (float{shapes[0]} x) => (float{shapes[1]} y) {{ {nodes} }}"""
    )
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return made


weights = values.integers(-127, 128, (32, 16, 3, 3)).astype(np.int8)
conv = model(pairs, ("[1,16,32,32]", "[1,32,30,30]"), s=np.float32(0.05), z=np.int8(0), w=weights)
gemm = model("y = Gemm(x, w)", ("[8,64]", "[8,32]"), w=values.standard_normal((64, 32)).astype(np.float32))


def last(builds):
    """What the last of these builds gives, and its engine, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        global builder, log
        log = Log()
        builder = trt.Builder(log)
        for made, capability in builds:
            if made is None:
                kept.append(builder)
                builder = trt.Builder(log)
            else:
                found = build(made, capability)
        with open(writing, "wb") as told:
            pickle.dump((*found, bytes(memoryview(kept[-1]))), told)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:
        found = pickle.load(told)
    os.waitpid(child, 0)
    return found


asked, refused, new_builder = (conv, "SM86"), (gemm, "SM75"), (None, "")
cases = {
    "first:                               ": ([asked], "Int8, Int8"),
    "after a Conv for 7.5, built:         ": ([(conv, "SM75"), asked], "Int8, Int8"),
    "after a Gemm for 7.5, refused:       ": ([refused, asked], "Float, Float"),
    "the same, by a builder of its own:   ": ([refused, new_builder, asked], "Float, Float"),
    "second after a Gemm for 7.5, refused:": ([refused, asked, asked], "Int8, Int8"),
}
good, engines = True, []
for name, (builds, expected) in cases.items():
    reads, messages, engine = last(builds)
    engines.append(engine)
    print(f"{name}  {reads}, {messages} messages, {len(engine)} bytes")
    good &= (reads, messages) == (expected, 0)
reads, messages, engine = last([(conv, "SM75")])
others = sum(one != other for one, other in zip(engine, engines[2]))
print(f"an engine for 7.5:                     {reads}, {messages} messages, {len(engine)} bytes", end="")
print(f", {others} of them others than after the refusal")
good &= len(engine) == len(engines[2]) and others < 16
sys.stdout.flush()
os._exit(0 if good else 1)
PYTHON
