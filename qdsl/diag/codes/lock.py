"""Diagnostic codes of the lock beside a recipe."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_EXAMPLE = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights int8; activations uint8; calibrate minmax on calib }
target ort
"""

CODES: dict[str, CodeDoc] = {
    "lock-stale": CodeDoc(
        "something that the lock was made from has changed",
        "The lock pins what the recipe says (comments, spacing, `evaluate` and budgets aside), the model with its "
        "external data, and every file that calibrated. The first change stands in the headline, the others below.",
        _EXAMPLE,
        "a lock, and another calib.npz than it was made from",
        "compile",
        "`qdsl compile --update` measures anew and rewrites the lock",
    ),
    "lock-weights": CodeDoc(
        "the integers that a lock names are not in the file beside it",
        "`round adaptive` keeps the integers that it chose in `<recipe>.weights.npz` beside the lock, which has the "
        "hash of each weight's. Both belong into version control together.",
        _EXAMPLE + "improve { round adaptive }\n",
        "a lock whose weights.npz is gone",
        "compile",
        "take both from version control again, or choose anew: `qdsl compile --update`",
    ),
    "lock-missing": CodeDoc(
        "`--locked` finds no lock beside the recipe",
        "`--locked` takes every range from `<recipe>.lock` and measures nothing.",
        _EXAMPLE,
        "model.onnx and calib.npz, and no lock",
        "compile",
        "compile once without `--locked`, where the data is, and commit the lock",
    ),
    "lock-invalid": CodeDoc(
        "a lock is not what qdsl wrote",
        "A lock is read strictly, up to the checksum in its last line: an edited number would silently become a "
        "scale. Ranges by hand belong into the recipe: `layers tensor X { range [low, high] }`.",
        _EXAMPLE,
        "a lock with an edited range",
        "compile",
        "take it from version control again, or measure anew: `qdsl compile --update`",
    ),
    "lock-unwritable": CodeDoc(
        "the lock cannot be written",
        "`compile` writes `<recipe>.lock` into the folder of the recipe.",
        _EXAMPLE,
        "a folder stands where the lock should be",
        "compile",
        "make the recipe's folder writable, or compile with `--no-lock`",
    ),
    "lock-moved": CodeDoc(
        "a file changed while it was compiled",
        "Its hash and what calibration saw of it may belong to different contents, so neither is written.",
        _EXAMPLE,
        "a call of the library, and calib.npz written anew meanwhile",
        "library",
        "compile again once the file is as it should be",
    ),
    "lock-elsewhere": CodeDoc(
        "the ranges of a lock were measured with other tools or on another kind of CPU",
        "Measured here, their last bits might differ; the lock gives the same artifact everywhere. A note, no fault. "
        "`--update` measures them here.",
        _EXAMPLE,
        "a lock that was made with another version of numpy",
        "compile",
    ),
    "lock-unchecked": CodeDoc(
        "with `--locked`, a dataset is not there",
        "Its files cannot be held against the hashes of the lock, and the artifact is not compared on its samples. "
        "The ranges are those of the lock all the same. A note, no fault.",
        _EXAMPLE,
        "a lock, and no calib.npz any more",
        "compile",
    ),
}
