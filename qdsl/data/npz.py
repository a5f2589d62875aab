"""The source `npz`: arrays saved by numpy, read row by row. The first dimension of every array counts samples, unless
the arrays fit the model as they are: then each file is one sample.

A file is a zip of .npy members. Nothing is unpickled, nothing larger than one sample is allocated, a header must agree
with the size that the zip directory states before a byte of data is read, and samples are counted before any is listed.
"""

from __future__ import annotations

import heapq
import math
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qdsl.data.files import expand, rank
from qdsl.data.image import is_flat, open_file, reason
from qdsl.data.preprocess import Pipeline, is_picture
from qdsl.data.sameness import FEW, is_constant
from qdsl.data.types import Array, Change, Label, failure
from qdsl.data.words import MAX_CLASSES, short
from qdsl.diag import QdslError, Span, nearest
from qdsl.lang.recipe import DataSpec

MAX_SAMPLE_BYTES = 2**29
MAX_ROWS = 10**6  # samples of one dataset
MAX_RANKED = 10**7  # samples that a draw with a seed chooses from
_MAX_SIDE = 1 << 48
_TELLING = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
)  # whose words say what is wrong
_SUFFIXES = frozenset({".npz"})
_MAX_FILE = 1 << 62


@dataclass(frozen=True, slots=True)
class Member:
    """One array in a file: its shape, of which the first dimension counts samples, its type, and where its data starts
    in the member."""

    name: str
    full: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def rows(self) -> int:
        return self.full[0] if self.full else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one sample."""
        return self.full[1:]

    @property
    def whole(self) -> Member:
        """The same array as one sample."""
        return replace(self, full=(1, *self.full))

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class NpzFile:
    """One file: its members by model input, how many samples they hold, and the member that holds labels. `whole`: the
    file is one sample, and its arrays have no dimension for samples."""

    path: Path
    shown: str
    members: Mapping[str, Member]
    rows: int
    label: Member | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """The samples chosen: `places` [n, 2] are the numbers of a file and of a row in it. `available` counts all."""

    files: tuple[NpzFile, ...]
    places: NDArray[np.int64]
    available: int

    def kinds(self) -> tuple[tuple[tuple[int, ...], np.dtype[Any], str], ...]:
        """The shapes and types of one sample that the files have for each input, each once."""
        used = sorted({int(file) for file in np.unique(self.places[:, 0])})
        members = ((name, member) for at in used for name, member in self.files[at].members.items())
        return tuple(dict.fromkeys((member.shape, member.dtype, name) for name, member in members))

    def name(self, index: int) -> str:
        """What a sample is called: `calib.npz[3]`."""
        file, row = self.places[index]
        return _name(self.files[file], int(row))


def npz_rows(spec: DataSpec, pipelines: Mapping[str, Pipeline]) -> Rows:
    """The samples that `take` leaves of every file. QdslError npz-broken, npz-array, data-*."""
    files = npz_files(spec, pipelines)
    counts = [file.rows for file in files]
    total = sum(counts)
    count, seed = spec.take if spec.take is not None else (total, None)
    most = MAX_RANKED if seed is not None else MAX_ROWS
    if (total if seed is not None else min(count, total)) > most:
        headline = f"dataset {spec.name} claims {total} samples, more than {most}"
        raise failure("data-size", headline, spec.at("take", "from"), help=("write `take N`: the first N are used",))
    if seed is None or count >= total:
        chosen = np.arange(min(count, total))
    else:
        chosen = np.array(sorted(_lowest(files, count, seed)), np.int64)
    starts = np.cumsum([0, *counts])
    of = np.searchsorted(starts, chosen, side="right") - 1
    return Rows(files, np.stack([of, chosen - starts[of]], axis=1), total)


def _lowest(files: Sequence[NpzFile], count: int, seed: int) -> list[int]:
    """The numbers of the `count` samples whose names rank lowest, as `chosen` has them for pictures."""
    names = (_name(file, row) for file in files for row in range(file.rows))
    ranked = heapq.nsmallest(count, ((rank(seed, name), at) for at, name in enumerate(names)))
    return [at for _, at in ranked]


def _name(file: NpzFile, row: int) -> str:
    return file.shown if file.whole else f"{file.shown}[{row}]"


def npz_files(spec: DataSpec, pipelines: Mapping[str, Pipeline]) -> tuple[NpzFile, ...]:
    """Every file that the dataset names, by its headers alone."""
    return tuple(_file(path, shown, spec, pipelines) for shown, path in expand(spec, _SUFFIXES))


def _file(path: Path, shown: str, spec: DataSpec, pipelines: Mapping[str, Pipeline]) -> NpzFile:
    found = _members(path, shown, spec.span)
    members, label = _mapped(found, spec, tuple(pipelines), shown), _label(found, spec, shown)
    if _is_whole(members, pipelines):
        whole = {name: member.whole for name, member in members.items()}
        return NpzFile(path, shown, whole, 1, _one_label(label, spec, shown), whole=True)
    for member in members.values():
        _require_rows(member, shown, spec.span)
    counted = [*members.values(), *([_row_label(label, spec, shown)] if label else [])]
    counts = {member.rows for member in counted}
    if len(counts) != 1:
        listed = ", ".join(f"{m.name} {m.rows}" for m in counted)
        headline = f"the arrays of {shown} hold different numbers of samples"
        raise failure("npz-array", headline, spec.span, label=f"first dimensions: {listed}")
    return NpzFile(path, shown, members, counts.pop(), label)


def _is_whole(members: Mapping[str, Member], pipelines: Mapping[str, Pipeline]) -> bool:
    """Whether a file is one sample: its arrays fit the model's inputs as they are, and row by row they do not."""
    if all(member.full and pipelines[name].fits(member.dtype, member.shape) for name, member in members.items()):
        return False
    return all(pipelines[name].fits(member.dtype, member.full) for name, member in members.items())


def _require_rows(member: Member, shown: str, span: Span) -> None:
    if not member.full:
        help = ("save one sample per row, or in each file one sample of the shape that the model takes",)
        raise failure("npz-array", f"array {member.name} of {shown} is a single number", span, help=help)


def _members(path: Path, shown: str, span: Span) -> dict[str, Member]:
    with open_file(path, shown, span, _MAX_FILE) as handle:
        try:
            with zipfile.ZipFile(handle) as archive:
                entries = [e for e in archive.infolist() if e.filename.endswith(".npy")]
                return {e.filename[:-4]: _header(archive, e, shown, span) for e in entries}
        except QdslError:
            raise
        # zipfile, zlib and numpy's header reader meet bad bytes with nearly every kind of exception there is.
        except Exception as error:
            told = isinstance(error, _TELLING)
            why = reason(error) if told else "the header of an array cannot be read"
            raise failure("npz-broken", f"{shown} is not a usable npz file: {why}", span) from None


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shown: str, span: Span) -> Member:
    name = entry.filename[:-4]
    with archive.open(entry) as data:
        version = np.lib.format.read_magic(data)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array {name} has header version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(data)
        offset = data.tell()
    if dtype.hasobject or dtype.kind not in "biuf":
        help = ("save plain numbers: objects are refused because reading them can run code",)
        raise failure("npz-array", f"array {name} of {shown} holds {dtype}, not numbers", span, help=help)
    if fortran and len(shape) > 1:
        help = ("save np.ascontiguousarray(array) with one sample per row",)
        raise failure("npz-array", f"array {name} of {shown} is stored in Fortran order", span, help=help)
    if any(not 0 <= int(side) <= _MAX_SIDE for side in shape):
        raise ValueError(f"array {name} claims shape {short(str(shape))}")
    member = Member(name, tuple(int(side) for side in shape), dtype, offset)
    if not member.row_bytes:
        help = ("a sample holds one number or more",)
        raise failure("npz-array", f"one sample of array {name} of {shown} holds no number", span, help=help)
    if member.row_bytes > MAX_SAMPLE_BYTES:
        headline = f"one sample of array {name} of {shown} claims {member.row_bytes // 2**20} MiB"
        raise failure("data-size", headline, span, help=(f"the limit is {MAX_SAMPLE_BYTES // 2**20} MiB",))
    if entry.file_size != offset + member.rows * member.row_bytes:
        raise ValueError(f"array {name} claims shape {shape}, but its data has another size")
    return member


def _mapped(found: dict[str, Member], spec: DataSpec, inputs: Sequence[str], shown: str) -> dict[str, Member]:
    """Members by model input: as `array "in file" "input"` says, else by name, else the only one for the only input."""
    pairs: dict[str, str] = {target: source for source, target in spec.arrays}
    for target in pairs:
        if target not in inputs:
            close = nearest(target, inputs) or tuple(inputs)[:3]
            help = (f"the model's inputs are {', '.join(f'`{c}`' for c in close)}",)
            raise failure("npz-array", f"the model has no input `{target[:80]}`", spec.at("array"), help=help)
    only = [name for name in found if name != spec.label]
    if not pairs and len(only) == 1 and len(inputs) == 1 and inputs[0] not in found:
        pairs = {inputs[0]: only[0]}
    mapped: dict[str, Member] = {}
    for name in inputs:
        source = pairs.get(name, name)
        if source not in found:
            known = ", ".join(f"`{k}`" for k in sorted(found)[:8]) or "none"
            cures = (f'write `array "in file" "{name}"`', f"{shown} holds {known}")
            raise failure(
                "npz-array", f"{shown} has no array `{source[:80]}` for input {name}", spec.at("array"), help=cures
            )
        mapped[name] = found[source]
    return mapped


def _label(found: dict[str, Member], spec: DataSpec, shown: str) -> Member | None:
    """The member with one class number per sample, where the recipe says that there is one."""
    if spec.label is None:
        return None
    member = found.get(spec.label)
    if member is None:
        known = ", ".join(f"`{k}`" for k in sorted(found)[:8]) or "none"
        headline = f"{shown} has no array `{spec.label[:80]}` with labels"
        raise failure("npz-array", headline, spec.at("label"), help=(f"it holds {known}",))
    return member


def _row_label(member: Member, spec: DataSpec, shown: str) -> Member:
    """An array of labels, one for each row."""
    if not member.full or member.dtype.kind not in "iu" or math.prod(member.shape) != 1:
        headline = f"array {member.name} of {shown} holds {list(member.shape)} {member.dtype} per sample as a label"
        help = ("a label is one whole number per sample: the index of its class",)
        raise failure("npz-array", headline, spec.at("label"), help=help)
    return member


def _one_label(member: Member | None, spec: DataSpec, shown: str) -> Member | None:
    """The label of a file that is one sample: a number, or an array of one."""
    return None if member is None else _row_label(member.whole, spec, shown)


@dataclass
class ArrayReader:
    """Reads rows; every thread keeps its own open file and position, so forward reading never seeks back."""

    rows: Rows
    pipelines: Mapping[str, Pipeline]
    span: Span
    flat: set[int] = field(default_factory=set)
    change: Change | None = None
    _open: threading.local = field(default_factory=threading.local)

    def arrays(self, index: int) -> Mapping[str, Array]:
        name, made, constant = self.rows.name(index), {}, list[bool]()
        for takes, pipeline in self.pipelines.items():
            array = self._row(index, self._file(index).members[takes])
            _check_finite(array, takes, name, self.span)
            picture = is_picture(array.dtype, array.shape[1:])
            if picture and is_flat(array[0]):
                self.flat.add(index)
            elif picture or array.size >= FEW:
                constant.append(not picture and is_constant(array[0], _channels(pipeline, array.shape[1:])))
            if picture and self.change is not None:
                array = self.change(array[0], name)[None]
            made[takes] = pipeline.picture(array[0]) if picture else pipeline.values(array)
        if constant and all(constant):
            self.flat.add(index)
        return made

    def labels(self, index: int) -> tuple[Label, ...]:
        member = self._file(index).label
        if member is None:
            return ()
        found = int(self._row(index, member).reshape(()))
        if not 0 <= found < MAX_CLASSES:
            headline = f"{self.rows.name(index)} has the label {found}"
            help = (f"a label is the index of a class, from 0 to {MAX_CLASSES - 1}",)
            raise failure("npz-array", headline, self.span, help=help)
        return (Label(found),)

    def mask(self, index: int) -> Path | None:
        return None

    def size(self, index: int) -> tuple[int, int] | None:
        pictures = [m.shape for m in self._file(index).members.values() if is_picture(m.dtype, m.shape)]
        return (pictures[0][0], pictures[0][1]) if len(pictures) == 1 else None

    def file(self, index: int) -> tuple[str, Path]:
        file = self._file(index)
        return file.shown, file.path

    def _file(self, index: int) -> NpzFile:
        return self.rows.files[int(self.rows.places[index, 0])]

    def _row(self, index: int, member: Member) -> Array:
        file, row = self._file(index), int(self.rows.places[index, 1])
        try:
            handle = self._handle(file.path, member.name)
            handle.seek(member.offset + row * member.row_bytes)
            data = handle.read(member.row_bytes)
            array = np.frombuffer(data, dtype=member.dtype, count=math.prod(member.shape))
        except Exception as error:  # as in `_members`
            headline = f"sample {row} of {file.shown} cannot be read: {reason(error)}"
            raise failure("npz-broken", headline, self.span) from None
        native = array.astype(member.dtype.newbyteorder("="), copy=False)
        return native.reshape((1, *member.shape))

    def _handle(self, file: Path, member: str) -> IO[bytes]:
        """This thread's open member; those of another file are closed once this one is asked for."""
        kept: dict[tuple[Path, str], _OpenMember] = self._open.__dict__.setdefault("kept", {})
        for key in [k for k in kept if k[0] != file]:
            del kept[key]
        if (file, member) not in kept:
            kept[file, member] = _OpenMember(file, member)
        return kept[file, member].data


class _OpenMember:
    """An array's data inside its zip file, closed with the thread that reads it."""

    def __init__(self, file: Path, member: str) -> None:
        self._archive = zipfile.ZipFile(file)
        self.data = self._archive.open(f"{member}.npy")

    def __del__(self) -> None:
        if hasattr(self, "data"):
            self.data.close()
        if hasattr(self, "_archive"):
            self._archive.close()


def _channels(pipeline: Pipeline, row: tuple[int, ...]) -> int | None:
    """The axis of the channels in one row of an array; None where it has no room beside them."""
    if len(row) < 3:
        return None
    return len(row) - 1 if pipeline.layout == "nhwc" else int(pipeline.without_batch(row))


def _check_finite(array: Array, name: str, sample: str, span: Span) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        help = ("take the sample out of the file, or mend it",)
        raise failure("data-non-finite", f"{sample} holds {what} for input {name}", span, help=help)
