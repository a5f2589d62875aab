#!/usr/bin/env bash
# onnxruntime's Linux wheel keeps a database of what it has to report about the models that it ran.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (Linux, x86-64; Python 3.11).
# Seen: after one run of a model of one Relu, ~/.cache/Microsoft/DeveloperTools/.onnxruntime/ holds `deviceid` and
#   `onnxruntime.db`, an SQLite file. With ORT_DISABLE_TELEMETRY=1 set before the import neither is there.
# Why it matters: a device writes to its disk, gets an identifier of its own, and may wait for a network at exit that it
#   does not have, for a program that only wanted to run a model.
# Fails when the files are no longer written, or are written in spite of the variable.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

cat > "$folder/run.py" <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

row = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", row[:1], row[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
session.run(None, {"x": np.ones(1, np.float32)})
PY

written() { find "$1" -path '*Microsoft*' -type f -printf '%f\n' | sort | tr '\n' ' '; }
run() { mkdir "$1"; env "${@:2}" HOME="$1" XDG_CACHE_HOME="$1/.cache" "$folder/venv/bin/python" "$folder/run.py"; }
run "$folder/plain" -u ORT_DISABLE_TELEMETRY
run "$folder/told" ORT_DISABLE_TELEMETRY=1
echo "by default:                  $(written "$folder/plain")"
echo "with ORT_DISABLE_TELEMETRY=1: $(written "$folder/told")"
case "$(written "$folder/plain")" in *onnxruntime.db*) ;; *) echo "CHANGED: nothing is kept"; exit 1 ;; esac
[ -z "$(written "$folder/told")" ] || { echo "CHANGED: the variable is not heeded"; exit 1; }
