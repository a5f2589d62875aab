"""How much an untrusted model may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds checked before anything is allocated.

    `file_bytes` is the model file without external data (protobuf itself ends at 2 GiB). `nodes` counts after local
    functions are expanded. `dimension` and `tensor_bytes` bound every declared shape and every constant. `fold_bytes`
    bounds what constant folding may compute; `body_depth` the nesting of If, Loop and Scan bodies.
    """

    file_bytes: int = 2**31 - 1
    nodes: int = 1_000_000
    dimension: int = 2**31 - 1
    tensor_bytes: int = 2**37
    fold_bytes: int = 2**24
    body_depth: int = 16


DEFAULT_LIMITS = Limits()
