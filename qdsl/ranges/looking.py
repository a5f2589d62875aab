"""What the samples themselves show while they are measured: that they show nothing, and that they are all alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from qdsl.calibrate import Ranges
from qdsl.data import Dataset
from qdsl.diag import Diagnostics
from qdsl.lang.recipe import DataSpec

_COPIES = "data-duplicates"
_SHOWN = 3
_LOOK = "look at what wrote them: ranges measured on them fit no other data"


def warn_of_samples(spec: DataSpec, dataset: Dataset, found: Ranges, diags: Diagnostics) -> None:
    """Tell of samples that show nothing (`data-flat`), and of those that hold the values of another
    (`data-duplicates`)."""
    flat = list(dict.fromkeys(dataset.ids[index] for index in found.flat))
    if flat:
        _warn_flat(spec, dataset, flat, diags, pictures=dataset.size(found.flat[0]) is not None)
    pairs = ((dataset.ids[index], dataset.ids[first]) for index, first in found.copies)
    copies = list(dict.fromkeys(name for name, first in pairs if name != first and name not in flat))
    every = len(copies) + 1 == len(set(dataset.ids))
    # Files of equal bytes are told when they are opened; in a video pictures that repeat are no accident.
    if copies and (every or spec.source == "npz") and not _told(spec, diags):
        _warn_copies(spec, dataset, copies, diags, every=every)


def _warn_flat(spec: DataSpec, dataset: Dataset, flat: Sequence[str], diags: Diagnostics, *, pictures: bool) -> None:
    one, every = len(flat) == 1, len(flat) == len(set(dataset.ids))
    if pictures:
        what, shows = f"picture{'' if one else 's'}", f"{'is' if one else 'are'} of one colour"
    else:
        what, shows = f"sample{'' if one else 's'}", f"{'holds' if one else 'hold'} one value alone, or one per channel"
    which = len(flat) if not every else "the only" if one else f"all {len(flat)}"
    headline = f"{which} {what} of dataset {spec.name} {shows}"
    cure = _LOOK if every else "take them out of the dataset, or look at what made them"
    diags.warning("data-flat", headline, spec.span, label=_some(flat), help=[cure])


def _warn_copies(spec: DataSpec, dataset: Dataset, copies: Sequence[str], diags: Diagnostics, *, every: bool) -> None:
    if every:
        headline, cure = f"all {len(copies) + 1} samples of dataset {spec.name} hold the same values", _LOOK
    else:
        verb = "holds" if len(copies) == 1 else "hold"
        headline = f"{len(copies)} of the {len(set(dataset.ids))} samples of dataset {spec.name} {verb} the values"
        headline, cure = f"{headline} of another", "take them out: a sample that occurs twice counts twice"
    diags.warning(_COPIES, headline, spec.span, label=_some(copies), help=[cure])


def _told(spec: DataSpec, diags: Diagnostics) -> bool:
    return any(each.code == _COPIES and each.span == spec.span for each in diags)


def _some(names: Collection[str]) -> str:
    """The first of them."""
    return ", ".join([*names][:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
