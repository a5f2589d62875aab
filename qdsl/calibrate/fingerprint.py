"""What a half-done calibration depends on, so that it is never continued with another model, recipe or dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from qdsl.calibrate.request import Request
from qdsl.data import Dataset
from qdsl.graph import Model, saving, to_bytes

_NEXT = "next who asks"


def fingerprint(model: Model, asked: Sequence[Sequence[Request]], dataset: Dataset) -> str:
    """SHA-256 over the model, the requests of each who asks, the preprocessing, and each sample's name with its file's
    size, time of last change and identity."""
    digest = hashlib.sha256()
    digest.update(model_digest(model))
    parts = [part for requests in asked for part in (*sorted(repr(request) for request in requests), _NEXT)]
    parts += [dataset.source, repr(getattr(dataset.reader, "pipelines", None)), *_samples(dataset)]
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def model_digest(model: Model) -> bytes:
    """32 bytes that models share of which nothing differs."""
    if model.constant_bytes <= saving.LARGEST_INLINE:
        return hashlib.sha256(to_bytes(model)).digest()
    digest = hashlib.sha256()
    for constant in sorted(model.constants(), key=lambda found: found.name):
        digest.update(constant.name.encode() + b"\0" + model.values(constant.name).tobytes())
    for node in model.view().nodes:
        digest.update(repr((node.name, node.op, node.inputs, node.outputs, sorted(node.attrs.items()))).encode())
    return digest.digest()


def _samples(dataset: Dataset) -> list[str]:
    found = []
    for index, name in enumerate(dataset.ids):
        try:
            state = dataset.file(index)[1].stat()
            found.append(f"{name} {state.st_size} {state.st_mtime_ns} {state.st_ino}")
        except OSError:
            found.append(name)
    return found
