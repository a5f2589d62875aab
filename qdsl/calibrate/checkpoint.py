"""What was seen so far, on disk: written aside and renamed, so that a kill at any point leaves the old state or the new
one; read back only by the same calibration."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qdsl.calibrate.observations import Observations
from qdsl.diag import QdslError
from qdsl.spec.aside import replace_file

_LARGEST = 1 << 30


class Checkpoint:
    """The state file at `path`. A state that cannot be written or read is no reason to fail: it only saves time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, fresh: Observations) -> Observations:
        """The saved state, or `fresh` when there is none of this calibration."""
        try:
            if not self.path.is_file() or self.path.stat().st_size > _LARGEST:
                return fresh
            found = Observations.from_json(self.path.read_text(encoding="utf-8"), fresh.span)
        except (OSError, UnicodeDecodeError, QdslError):
            return fresh
        return found if (found.key, found.total) == (fresh.key, fresh.total) else fresh

    def save(self, text: str) -> None:
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, text.encode("utf-8"))

    def remove(self) -> None:
        with suppress(OSError):
            self.path.unlink()
