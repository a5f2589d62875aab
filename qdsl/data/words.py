"""Names and numbers that a dataset's own files give to classes and files, held to what every file can store."""

from __future__ import annotations

MAX_CLASSES = 100_000
MAX_CLASS_NAME = 200  # characters
_DIGITS = 6
MAX_PATH, MAX_PART = 4096, 255  # bytes: what Linux takes for a path and for each part of it


def class_problem(name: str) -> str:
    """Why `name` cannot be the name of a class; "" where it can."""
    if not name:
        return "it is empty"
    if len(name) > MAX_CLASS_NAME:
        return f"it has {len(name)} characters, the limit is {MAX_CLASS_NAME}"
    return _text_problem(name)


def path_problem(path: str) -> str:
    """Why `path` cannot be the path of a file; "" where it can."""
    problem = _text_problem(path)
    if problem:
        return problem
    longest = max((len(part.encode()) for part in path.split("/")), default=0)
    if longest > MAX_PART:
        return f"a part of it has {longest} bytes, the limit is {MAX_PART}"
    size = len(path.encode())
    return f"it has {size} bytes, the limit is {MAX_PATH}" if size > MAX_PATH else ""


def class_number(text: str) -> int:
    """The number of a class as a label file writes it: 3, and 3.0, too. Raises ValueError for anything else."""
    whole, _, rest = text.partition(".")
    if not (whole.isascii() and whole.isdigit()) or rest.strip("0") or len(whole) > _DIGITS:
        raise ValueError(f"`{short(text)}` is not the number of a class")
    return int(whole)


def short(text: str, most: int = 60) -> str:
    """`text` for a message: cut, on one line, and without what no terminal can show."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else "?" for c in cut)


def _text_problem(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which is no character"
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        return "it holds a control character"
    return ""
