"""Hashes of the files that a compilation reads, and whether one of them moved while it was read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Mapping
from functools import partial
from pathlib import Path

from qdsl.data import Dataset
from qdsl.data.image import open_file, reason
from qdsl.data.types import failure
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph.source import FileState, state_of
from qdsl.lock.types import DataFile, Named

_ANY_SIZE = 1 << 62
_BLOCK = 1 << 20


class Fingerprints:
    """Hashes files and remembers what the file system said of each, so that one that moved is found later."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[str, FileState, Span | None]] = {}

    def model(self, file: Path, sha256: str, states: Mapping[Path, FileState], span: Span | None) -> Named:
        """The model file and the files of its external data, each named as seen from the model's folder. `sha256` is
        that of the file as it was loaded, `states` what the file system said of each file then."""
        home, found = file.parent.resolve(), {}
        for path, state in states.items():
            name = file.name if path == file else _below(path, home)
            found[name] = sha256 if path == file else self._sha256(path, name, span)
            self._seen[path] = (name, state, span)
        return tuple(sorted(found.items()))

    def dataset(self, dataset: Dataset) -> tuple[DataFile, ...]:
        """Every file that holds a sample of `dataset`. Reads each file once; QdslError data-missing,
        data-unreadable."""
        paths, times = _files(dataset)
        return tuple(
            DataFile(dataset.name, name, times[name], self._sha256(path, name, dataset.span))
            for name, path in sorted(paths.items())
        )

    def labelled(self, dataset: Dataset) -> tuple[DataFile, ...]:
        """What `dataset` says of its samples: the labels of each, and its mask where it has one. Raises what reading
        labels does, too."""
        found = []
        for at, name in enumerate(dataset.ids):
            mask, labels = dataset.mask(at), repr(dataset.labels(at)).encode()
            found.append(DataFile(dataset.name, name, 1, hashlib.sha256(labels).hexdigest()))
            if mask is not None:
                found.append(DataFile(dataset.name, name, 1, self._sha256(mask, name, dataset.span)))
        return tuple(found)

    def present(self, dataset: Dataset, wanted: Container[str]) -> tuple[DataFile, ...]:
        """The same for those files that are `wanted` and still there."""
        paths, times = _files(dataset)
        return tuple(
            DataFile(dataset.name, name, times[name], self._sha256(path, name, dataset.span))
            for name, path in sorted(paths.items())
            if name in wanted and path.exists()
        )

    def require_unmoved(self) -> None:
        """Raise QdslError `lock-moved` for every file that is no longer what was hashed."""
        moved = [
            Diagnostic(
                "lock-moved",
                f"`{name}` changed while it was being compiled",
                span,
                "calibration may have seen the old content or the new",
                ("compile again once the file is as it should be",),
            )
            for path, (name, state, span) in sorted(self._seen.items())
            if state_of(path) != state
        ]
        if moved:
            raise QdslError(moved)

    def _sha256(self, path: Path, name: str, span: Span | None) -> str:
        state, digest = state_of(path), hashlib.sha256()
        with open_file(path, name, span, _ANY_SIZE) as file:
            try:
                for block in iter(partial(file.read, _BLOCK), b""):
                    digest.update(block)
            except OSError as error:
                raise failure("data-unreadable", f"{name} cannot be read: {reason(error)}", span) from None
        self._seen[path] = (name, state, span)
        return digest.hexdigest()


def complete(dataset: Dataset) -> bool:
    """Whether every file of a dataset is there."""
    return all(path.exists() for path in _files(dataset)[0].values())


def _files(dataset: Dataset) -> tuple[dict[str, Path], Counter[str]]:
    """The files of a dataset by name, and how many of its samples each holds."""
    files = [dataset.file(index) for index in range(len(dataset))]
    return dict(files), Counter(name for name, _ in files)


def _below(path: Path, home: Path) -> str:
    real = path.resolve()
    return real.relative_to(home).as_posix() if real.is_relative_to(home) else path.name
