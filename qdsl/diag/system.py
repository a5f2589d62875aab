"""What the system refuses: memory, room, access. No fault of a recipe, and none of ours."""

from __future__ import annotations

import re

from qdsl.diag.model import Diagnostic

_MEMORY = re.compile(
    r"bad[ _]alloc|Failed to allocate memory|Cannot allocate memory|[Uu]nable to allocate|[Oo]ut of memory"
    r"|failed to map segment|can't start new thread"
    r"|returned NULL without setting an exception"  # what CPython makes of an allocation that failed deep inside
)


NO_MEMORY = Diagnostic("out-of-memory", "there is not enough memory for this")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python or of the runtime, says that there was no memory."""
    return isinstance(error, MemoryError) or _MEMORY.search(str(error)) is not None


def refused_by_system(error: BaseException) -> Diagnostic | None:
    """What to tell of an exception that came from the system; None for any other."""
    if ran_out_of_memory(error):
        return NO_MEMORY
    if not isinstance(error, OSError):
        return None
    reason = error.strerror or " ".join(str(error).split())[:300] or type(error).__name__
    if error.filename is None:
        return Diagnostic("system-refused", f"the system refuses: {reason}")
    name = error.filename if isinstance(error.filename, str) else repr(error.filename)
    return Diagnostic("system-refused", f"`{name[:300]}`: {reason}")
