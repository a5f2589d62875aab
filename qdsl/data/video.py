"""The source `video`: frames of video files, one sample each. PyAV decodes them, an extra of its own.

A file is demuxed once, which counts its frames and notes where each starts; frames are decoded when they are asked
for, forward from the last one or from the key frame before. Only containers that hold their own data are opened, by
their suffix: playlists, which name other files and addresses, are none of them.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdsl.data.files import MAX_FILES, expand, path_key
from qdsl.data.image import check_size, open_file, reason
from qdsl.data.types import Frame, Item, Listing, failure
from qdsl.data.unmatched import NOT_READ
from qdsl.diag import QdslError, Span
from qdsl.lang.recipe import DataSpec

if TYPE_CHECKING:
    import av.container
    import av.video.frame

_CONTAINERS = {
    ".mp4": "mov",
    ".m4v": "mov",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".avi": "avi",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".ts": "mpegts",
}
_UNREAD = frozenset({".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts", ".vob", ".rm"})  # videos that are not read
_MOST_OPEN = 4  # files of a dataset that are open at a time
_KEPT_FRAMES, _KEPT_BYTES = 8, 64 * 2**20  # frames decoded on the way that another thread may ask for next


def video(spec: DataSpec) -> Listing:
    """Every frame of the files, or one in `every` so many, called `clip.mp4[12]` by its number from 0."""
    _require_av(spec)
    found = expand(spec, frozenset(_CONTAINERS))
    skipped = tuple(f"{shown}: {NOT_READ}" for shown, path in expand(spec, _UNREAD) if path.suffix.lower() in _UNREAD)
    clips, step = _Clips(), spec.every or 1
    items: list[Item] = []
    for shown, path in found:
        if path.suffix.lower() not in _CONTAINERS:
            help = (f"files end in {', '.join(_CONTAINERS)}",)
            raise failure("video-broken", f"{shown} is no video by its name", spec.span, help=help)
        times, keys = _times(path, shown, spec.span)
        clip = _Clip(path, shown, times, keys, step, spec.span, clips)
        items += [_item(clip, number) for number in range(0, len(times), step)]
        if len(items) > MAX_FILES:
            raise failure("data-size", f"dataset {spec.name} has more than {MAX_FILES} frames", spec.span)
    return Listing(tuple(sorted(items, key=lambda item: path_key(item.file))), skipped=skipped)


def _item(clip: _Clip, number: int) -> Item:
    frame = Frame(clip.shown, number, partial(clip.pixels, number))
    return Item(f"{clip.shown}[{number}]", clip.path, frame=frame)


def _require_av(spec: DataSpec) -> None:
    try:
        import av  # noqa: F401
    except ImportError:
        help = ('install the extra `video`: pip install "qdsl-compiler[video]"',)
        raise failure("video-absent", "reading video needs the package `av`", spec.at("from"), help=help) from None


def _opened(path: Path, shown: str, span: Span) -> av.container.InputContainer:
    import av

    open_file(path, shown, span, 1 << 62).close()
    return av.open(str(path), format=_CONTAINERS[path.suffix.lower()], options={"protocol_whitelist": "file"})


def _times(path: Path, shown: str, span: Span) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(when each frame is shown, in order; when each key frame is), in the stream's own unit."""
    try:
        with _opened(path, shown, span) as container:
            stream = container.streams.video[0]
            check_size((stream.width, stream.height), shown, span)
            times: list[int] = []
            keys: list[int] = []
            for packet in container.demux(stream):
                if packet.pts is None:
                    if packet.size:
                        raise ValueError("its frames have no times; rewrite it as mp4 or mkv")
                    continue
                times.append(packet.pts)
                keys += [packet.pts] if packet.is_keyframe else []
                if len(times) > MAX_FILES:
                    raise failure("data-size", f"{shown} has more than {MAX_FILES} frames", span)
    except QdslError:
        raise
    except Exception as error:  # libav's own errors, and what a bent file makes of the wrapper around it
        raise _broken(shown, error, span) from None
    return tuple(sorted(set(times))), tuple(sorted(set(keys)))


@dataclass(frozen=True, slots=True)
class _Clip:
    """One file and the times of its frames and key frames; one in `step` frames is a sample."""

    path: Path
    shown: str
    times: tuple[int, ...]
    keys: tuple[int, ...]
    step: int
    span: Span
    clips: _Clips

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """Frame `number`, uint8 [height, width, 3] in RGB order, upright. QdslError video-broken."""
        try:
            return self.clips.frame(self, number)
        except QdslError:
            raise
        except Exception as error:  # as in `_times`
            raise _broken(f"frame {number} of {self.shown}", error, self.span) from None


@dataclass
class _Open:
    """A file that is being decoded: where it stands, and frames that it passed."""

    container: av.container.InputContainer
    frames: Iterator[av.video.frame.VideoFrame]
    at: int | None = None
    passed: OrderedDict[int, NDArray[np.uint8]] = field(default_factory=OrderedDict)


class _Clips:
    """The open files of a dataset. One thread decodes at a time, forward where it can."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, _Open] = OrderedDict()

    def frame(self, clip: _Clip, number: int) -> NDArray[np.uint8]:
        with self._lock:
            opened = self._file(clip)
            if number in opened.passed:
                return opened.passed.pop(number)
            return _decoded(opened, clip, number)

    def _file(self, clip: _Clip) -> _Open:
        if clip.path not in self._open:
            while len(self._open) >= _MOST_OPEN:
                self._open.popitem(last=False)[1].container.close()
            container = _opened(clip.path, clip.shown, clip.span)
            self._open[clip.path] = _Open(container, container.decode(video=0))
        self._open.move_to_end(clip.path)
        return self._open[clip.path]


def _decoded(opened: _Open, clip: _Clip, number: int) -> NDArray[np.uint8]:
    """Frame `number`, decoded from where the file stands or from the key frame before it."""
    wanted = clip.times[number]
    key = clip.keys[max(0, bisect.bisect_right(clip.keys, wanted) - 1)] if clip.keys else clip.times[0]
    if opened.at is None or opened.at >= wanted or key > opened.at:
        opened.container.seek(min(key, wanted), stream=opened.container.streams.video[0], backward=True)
        opened.frames = opened.container.decode(video=0)
        opened.at = None
    for frame in opened.frames:
        if frame.pts is None or frame.pts > wanted:
            break
        opened.at = frame.pts
        if frame.pts == wanted:
            return _upright(frame)
        _keep(opened, clip, frame)
    opened.at = None
    raise ValueError("the decoder gives no such frame")


def _keep(opened: _Open, clip: _Clip, frame: av.video.frame.VideoFrame) -> None:
    """A frame that is passed on the way to another, where it is a sample: threads ask in nearly their order."""
    assert frame.pts is not None, "checked by the caller"
    number = bisect.bisect_left(clip.times, frame.pts)
    most = min(_KEPT_FRAMES, _KEPT_BYTES // max(1, frame.width * frame.height * 3))
    if most and number % clip.step == 0:
        opened.passed[number] = _upright(frame)
        while len(opened.passed) > most:
            opened.passed.popitem(last=False)


def _upright(frame: av.video.frame.VideoFrame) -> NDArray[np.uint8]:
    if frame.is_corrupt:
        raise ValueError("the decoder says that it is damaged")
    pixels: NDArray[Any] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)), dtype=np.uint8)


def _broken(what: str, error: Exception, span: Span) -> QdslError:
    help = ("play it to see whether it is whole, or rewrite it: ffmpeg -i OLD NEW.mp4",)
    why = getattr(error, "strerror", None) or reason(error)  # libav's errors name the path, too
    return failure("video-broken", f"{what} cannot be decoded: {why}", span, help=help)
