"""Files of ONNX Runtime's quantizer, and what is left to be told of them once they are mended for TensorRT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from audit_tools import found
from compile_tools import residual_net
from onnx import ModelProto

import qdsl
from qdsl.diag import Severity

_SYMMETRIC = {"ActivationSymmetric": True}
_AFFINE = {"zero_point_not_zero": 10}


@dataclass(frozen=True)
class Variant:
    """Options of `quantize_static` ("u8" for types of uint8), and the errors that stay, by rule."""

    options: dict[str, Any]
    left: dict[str, int] = field(default_factory=dict)
    slow: bool = False


def _symmetric(slow: bool = True, extra: dict[str, bool] | None = None, **more: Any) -> Variant:
    return Variant({"extra_options": {**_SYMMETRIC, **(extra or {})}, **more}, slow=slow)


# Its defaults are affine int8, as its uint8 is; those have to be quantized anew.
VARIANTS: dict[str, Variant] = {
    "defaults": Variant({}, _AFFINE),
    "symmetric": _symmetric(slow=False),
    "symmetric, per channel": _symmetric(per_channel=True),
    "symmetric, float biases": _symmetric(extra={"QuantizeBias": False}),
    "symmetric, weights in pairs": _symmetric(extra={"AddQDQPairToWeight": True}),
    "symmetric, com.microsoft": _symmetric(extra={"UseQDQContribOps": True}),
    "symmetric uint8": _symmetric(slow=False, activation_type="u8"),
    "all symmetric uint8": _symmetric(extra={"WeightSymmetric": True}, activation_type="u8", weight_type="u8"),
    "uint8": Variant({"activation_type": "u8"}, {"unsigned_integers": 10, "zero_point_not_zero": 8}, slow=True),
    "symmetric operators": _symmetric(quant_format="operators", per_channel=True),
    "symmetric operators, uint8": _symmetric(slow=False, quant_format="operators", activation_type="u8"),
    "operators": Variant(
        {"quant_format": "operators", "activation_type": "u8"},
        {"unsigned_integers": 9, "zero_point_not_zero": 7},
        slow=True,
    ),
    "16 bits": Variant({"activation_type": "s16", "extra_options": _SYMMETRIC}, {"unsupported_type": 12}, slow=True),
}


class _Drawn:
    """A few samples for the input of a model."""

    def __init__(self, model: ModelProto, number: int) -> None:
        given = model.graph.input[0]
        shape = [max(each.dim_value, 1) for each in given.type.tensor_type.shape.dim]
        draws = (np.random.default_rng(seed).standard_normal(shape) for seed in range(number))
        self._left: Iterator[dict[str, Any]] = iter([{given.name: draw.astype(np.float32)} for draw in draws])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


def by_onnxruntime(folder: Path, options: dict[str, Any], model: ModelProto | None = None) -> Path:
    """A model (the small residual net), quantized with these options."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: TID251

    words = {"u8": QuantType.QUInt8, "s16": QuantType.QInt16, "operators": QuantFormat.QOperator}
    made = {name: words.get(value, value) if isinstance(value, str) else value for name, value in options.items()}
    floats = residual_net() if model is None else model
    onnx.save(floats, folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "made.onnx", _Drawn(floats, 4 if model is None else 1), **made)
    return folder / "made.onnx"


def mended_file(path: Path, out: Path) -> dict[str, int]:
    """Mend a file for TensorRT; what is left to be told as an error, by rule."""
    report = qdsl.audit(path, target="tensorrt", fix=out).report
    return dict(Counter(each.rule for each in report.findings if each.severity is Severity.ERROR))


def errors(model: ModelProto) -> dict[str, int]:
    """What the audit tells as an error about TensorRT, by rule."""
    return dict(Counter(each.rule for each in found(model, "tensorrt") if each.severity is Severity.ERROR))
