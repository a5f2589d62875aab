"""Files of a dataset that hold the same bytes: such a sample counts twice without anyone having asked for it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from qdsl.data.types import Item

_CHUNK = 2**20
_LARGEST = 64 * 2**20  # bytes of a file; larger ones are not worth a second reading


def duplicates(items: Sequence[Item]) -> tuple[str, ...]:
    """The names of files whose bytes an earlier file of `items` has. Only files of equal size, and at most
    64 MiB, are read; a file that cannot be read is passed over here, since reading its sample says why."""
    by_size: dict[int, dict[str, Item]] = defaultdict(dict)
    for item in (each for each in items if each.frame is None):
        try:
            size = item.path.stat().st_size
        except (OSError, ValueError):
            continue
        if size <= _LARGEST:
            by_size[size].setdefault(item.id, item)
    found: set[str] = set()
    for same in by_size.values():
        found |= _repeated(list(same.values())) if len(same) > 1 else set()
    return tuple(dict.fromkeys(item.id for item in items if item.id in found))


def _repeated(items: list[Item]) -> set[str]:
    seen: set[bytes] = set()
    found: set[str] = set()
    for item in items:
        digest = _digest(item)
        if digest in seen:
            found.add(item.id)
        if digest is not None:
            seen.add(digest)
    return found


def _digest(item: Item) -> bytes | None:
    if not item.path.is_file():
        return None
    digest = hashlib.sha256()
    try:
        with item.path.open("rb") as handle:
            while block := handle.read(_CHUNK):
                digest.update(block)
    except OSError:
        return None
    return digest.digest()
