"""A finished file as a folder of plain files: a manifest, and for every tensor its integers, scales and zero points.

Written aside and renamed, one tensor in memory at a time. docs/provenance.md lays the folder out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qdsl.diag import Diagnostic, QdslError
from qdsl.exporting.files import write_tensor
from qdsl.exporting.integers import integers_of, portable, stored_of
from qdsl.exporting.layers import Layers
from qdsl.exporting.names import file_name
from qdsl.finished.records import Finished, Parameters, QuantizedTensor
from qdsl.graph.folded import folded
from qdsl.spec.aside import folder_aside, replace_folder
from qdsl.spec.bounds import UnfitError
from qdsl.spec.decode import json_data
from qdsl.spec.words import plain
from qdsl.version import __version__

MANIFEST, LAYOUT, FOLDER = "manifest.json", "layout.txt", "tensors"
KIND, FORMAT = "qdsl export", 1
_LARGEST_MANIFEST = 1 << 28
_TEXT = """A quantized model as plain files, made by qdsl {version}.

manifest.json    `layers` in the order in which they can be computed. An input or output names its tensor, and under
                 `quantized` the numbers of its entries in `tensors`: none where it is a float.
tensors/*.npz    arrays for numpy: `integers` (weights and biases alone), `scale`, `zero_point`, `axis` (-1: one scale
                 for all) and `block`; of constants that are no integers `values`; where the integers of a weight
                 are not known, as of one that an operator packs into bytes, `stored`: what the file holds
tensors/*.txt    the same as text: lines that begin with # say what it is; then for each array a line with its name,
                 type and shape, and its values in C order: one line for each index along the first axis, all
                 on one line where there is no other

value = (integer - zero_point) x scale, with the scale and zero point of the integer's place along `axis`. With blocks,
`block` neighbours along `axis` have one scale. A layer with integer inputs and outputs: add the products of (integer -
zero point) as whole numbers, add the bias, whose scale is input scale x weight scale; multiply by input scale x weight
scale / output scale; round, half to even; add the output's zero point; clip to `low` and `high` where they are given,
else to the type. `bits`: integers are the bit patterns of a float type.
"""


def export_integers(finished: Finished, directory: Path, sha256: str) -> None:
    """Write the folder. `sha256` is that of the model file. `directory` is not there yet, empty, or an earlier export,
    which is replaced. Raises QdslError show-exists, artifact-write."""
    try:
        target = directory.resolve()
        _require_ours(directory, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with folder_aside(target) as made:
            (made / FOLDER).mkdir()
            _write(finished, made, sha256)
            replace_folder(target, made)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise QdslError([Diagnostic("artifact-write", f"`{directory}` cannot be written: {reason}")]) from None


def _require_ours(directory: Path, target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise _exists(f"`{directory}` is there already, and is no folder")
    names = {path.name for path in target.iterdir()}
    if names and not (names <= {MANIFEST, LAYOUT, FOLDER} and _is_export(target / MANIFEST)):
        raise _exists(f"`{directory}` holds something else than an export, and nothing in it is overwritten")


def _exists(headline: str) -> QdslError:
    return QdslError([Diagnostic("show-exists", headline)])


def _is_export(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_MANIFEST:
            return False
        found = json_data(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UnfitError):
        return False
    return isinstance(found, dict) and found.get("kind") == KIND


def _write(finished: Finished, folder: Path, sha256: str) -> None:
    tensors = [_tensor(finished, number, tensor, folder) for number, tensor in enumerate(finished.tensors)]
    layers = Layers(finished)
    constants = dict(_constants(finished, layers, len(tensors), folder))
    view = finished.view
    content = {
        "kind": KIND,
        "format": FORMAT,
        "qdsl": __version__,
        "model": finished.model.name,
        "sha256": sha256,
        "opset": view.opset,
        "inputs": [layers.end(name) for name in view.inputs],
        "outputs": [layers.end(name) for name in view.outputs],
        "tensors": tensors,
        "layers": list(layers.described(constants)),
    }
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="ascii", newline="\n")
    (folder / LAYOUT).write_text(_TEXT.format(version=__version__), encoding="utf-8", newline="\n")


def _tensor(finished: Finished, number: int, tensor: QuantizedTensor, folder: Path) -> dict[str, Any]:
    """Write the files of one tensor; what the manifest says of it."""
    own, found = tensor.parameters, integers_of(finished, tensor)
    name = file_name(number, tensor.tensor)
    held = stored_of(finished, tensor) if found is None else None
    arrays = {word: each.values for word, each in (("integers", found), ("stored", held)) if each is not None}
    arrays |= _parameters(own)
    facts = {
        "tensor": plain(tensor.tensor),
        "role": tensor.role.value,
        "form": tensor.form.value,
        "element": own.element,
        "granularity": own.granularity.value,
    }
    write_tensor(folder / FOLDER / name, facts, arrays)
    return {
        "tensor": tensor.tensor,
        "role": tensor.role.value,
        "form": tensor.form.value,
        "element": own.element,
        "bits": found is not None and found.bits,
        "granularity": own.granularity.value,
        "axis": own.axis,
        "block": own.block,
        "low": own.low,
        "high": own.high,
        "scale": _one(own.scale),
        "zero_point": 0 if not own.zero_written else _one(own.zero_point),
        "shape": None if found is None else list(found.values.shape),
        "file": f"{FOLDER}/{name}",
        "readers": [{"node": reader.node, "port": reader.port} for reader in tensor.readers],
        "line": tensor.origin,
    }


def _parameters(own: Parameters) -> dict[str, Any]:
    """The arrays of scale and zero point; none for what is computed while the model runs."""
    found: dict[str, Any] = {}
    if own.scale is not None:
        found["scale"] = portable(own.scale).values
    if own.zero_point is not None:
        found["zero_point"] = portable(own.zero_point).values
    elif own.scale is not None and not own.zero_written:
        found["zero_point"] = np.zeros(own.scale.shape, np.int32)
    found["axis"] = np.asarray(-1 if own.axis is None else own.axis, np.int32)
    found["block"] = np.asarray(own.block or 0, np.int32)
    return found


def _one(values: Any) -> float | int | None:
    """The number that stands for the whole tensor; None where there are several, or none is known."""
    if values is None or np.size(values) != 1:
        return None
    found = portable(np.asarray(values)).values.reshape(-1)[0].item()
    return found if isinstance(found, int) else float(found)


def _constants(finished: Finished, layers: Layers, number: int, folder: Path) -> Iterator[tuple[str, str]]:
    """Write constants that layers read as they are (float biases, shapes, bounds); each with its file. Text, and what
    cannot be computed, is left out."""
    for at, name in enumerate(layers.constants(), start=number):
        values = folded(finished.model, name)
        if values is None or values.dtype.kind not in "iubfV":
            continue
        found, place = portable(values), file_name(at, name)
        facts: Mapping[str, str] = {"tensor": plain(name), "role": "constant", "type": values.dtype.name}
        write_tensor(folder / FOLDER / place, facts, {"values": found.values})
        yield name, f"{FOLDER}/{place}"
