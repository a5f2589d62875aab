"""What building and timing an engine leaves beside its model."""

from __future__ import annotations

from pathlib import Path

from qdsl.targets.tensorrt.commands import ENGINE, LAYERS, PROFILE, TIMES

FACTS = "build.json"
# Without the measurements of kernels (timing.cache): they are of the GPU, and make the next build quick.
LEFT = (ENGINE, LAYERS, TIMES, PROFILE, FACTS)


def forget(directory: Path) -> None:
    """Take away what an earlier build left. Raises OSError."""
    for name in LEFT:
        (directory / name).unlink(missing_ok=True)
