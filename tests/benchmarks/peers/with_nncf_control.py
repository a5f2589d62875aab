"""NNCF's accuracy control: everything quantized, then put back into float, layer by layer, until the score holds."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nncf
import onnx
from onnx import version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process
from scored import Scored
from shared import peak_mb, versions

_OPSET = 17  # weights per channel need 13


def prepared(path: str) -> onnx.ModelProto:
    """The model as ONNX Runtime's quantizer wants it: batch normalization is folded, which NNCF leaves to others."""
    model = onnx.load(path)
    if model.opset_import[0].version < 13:
        model = version_converter.convert_version(model, _OPSET)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        onnx.save(model, given)
        quant_pre_process(str(given), str(made), skip_symbolic_shape=True)
        return onnx.load(made)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="what `scored.Scored` reads")
    parser.add_argument("--chosen", required=True, type=int, nargs="+", help="the pictures that decide")
    parser.add_argument("--drop", required=True, type=float)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    held = Scored(args.data)
    model = prepared(args.model)
    name, seen = model.graph.input[0].name, []

    def fed(number: int) -> dict[str, Any]:
        return {name: held.x[number : number + 1]}

    def validate(candidate: onnx.ModelProto, numbers: Iterable[int]) -> tuple[float, None]:
        listed = list(numbers)
        seen.append(len(listed))
        return held.score(candidate.SerializeToString(), listed, args.threads), None

    start = time.perf_counter()
    found = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(range(len(held)), fed),
        nncf.Dataset(args.chosen, fed),
        validate,
        max_drop=args.drop,
        drop_type=nncf.DropType.ABSOLUTE,
    )
    seconds = time.perf_counter() - start
    onnx.save(found, args.out)
    told = {"evaluations": len(seen), "pictures": sum(seen), "seconds": seconds, "peak_mb": peak_mb()}
    print(json.dumps({**told, "versions": versions(("nncf", "onnx", "onnxruntime"))}))


if __name__ == "__main__":
    main()
