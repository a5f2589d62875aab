"""`python -m qdsl`, and the command `qdsl`."""

from __future__ import annotations

import signal

# Until a verb sees to Ctrl-C itself, it ends the process without a word: nothing is begun that could be left half.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from qdsl.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    import sys

    sys.exit(main())
