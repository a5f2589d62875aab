"""What `compile` shows while it works: a bar on stderr where that is a terminal, and a line per stage.

The lines belong to the log, so they go where the results go: to stdout, or to stderr where stdout holds one JSON
document.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

from qdsl.cli.output import on_terminal
from qdsl.cli.process import INTERRUPTS

if TYPE_CHECKING:
    from qdsl.measure.events import Event

# What targets say of themselves stands in the results.
_TOLD = ("model", "equalize", "wait", "calibrate", "allocate", "tune", "round", "lock", "rewrite", "tuned", "build")


class Progress:
    """Hears events. A context manager, so that the bar leaves the terminal clean whatever happens."""

    def __init__(self, *, as_json: bool = True) -> None:
        self._lines = sys.stderr if as_json else sys.stdout
        self._bar: Any = None
        self._task: Any = None
        self._shown = ("", "")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def hear(self, event: Event) -> None:
        """Show one event."""
        INTERRUPTS.check()
        if event.total:
            self._count(event)
            return
        self._stop()
        if event.stage in _TOLD:
            print(f"{event.stage:<10} {event.text}", file=self._lines, flush=True)

    def pause(self) -> None:
        """Take the bar away, so that lines may follow."""
        self._stop()

    def _count(self, event: Event) -> None:
        if not on_terminal():
            return
        if self._shown != (event.stage, event.text):
            self._stop()
        if self._bar is None:
            self._start(event)
        self._bar.update(self._task, completed=event.done)

    def _start(self, event: Event) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        self._shown = (event.stage, event.text)
        self._task = self._bar.add_task(f"{event.stage:<10} {event.text}", total=event.total)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
