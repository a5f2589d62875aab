"""Every rewrite of `--fix` by name, in the order in which they run. Listing loads nothing."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, cast

from qdsl.rewrite import Pass

if TYPE_CHECKING:
    from qdsl.finished.records import Finished

# Each is the file of its name here, with a class `Mend`.
FIXES = (
    "written_out",  # first: the others see its Q and DQ
    "stored_integers",
    "redundant_pairs",
    "float_bias",
    "float_scalars",
    "scalar_scales",
    "written_axis",
    "written_zero_point",
    "signed_integers",
    "unsigned_activations",
    "onnx_quantizers",
    "dangling_nodes",  # last: the others leave nodes that nobody reads
)


def fix(name: str, finished: Finished, spared: Collection[str]) -> Pass:
    """The rewrite called `name`, for the file that was read as `finished`; nodes and tensors that are `spared` stay as
    they are. Raises KeyError."""
    if name not in FIXES:
        raise KeyError(name)
    return cast(Pass, import_module(f"qdsl.auditing.fixes.{name}").Mend(finished, frozenset(spared)))
