"""A copy of the tree, to which something is added."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent


@dataclass
class Copy:
    """A copy of the tree: `own` are the files that what is added is made of, `touched` those that it changes."""

    path: Path
    own: list[str] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    def add(self, name: str, text: str) -> None:
        """A file of its own."""
        assert not (self.path / name).exists()
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        self.own.append(name)

    def after(self, name: str, line: str, more: str) -> None:
        """Put `more` after the one line of a file that reads `line`."""
        self.replace(name, f"{line}\n", f"{line}\n{more}\n")

    def before(self, name: str, line: str, more: str) -> None:
        """Put `more` before the one line of a file that reads `line`."""
        self.replace(name, f"{line}\n", f"{more}{line}\n")

    def replace(self, name: str, text: str, other: str) -> None:
        """Change the one place of a file that reads `text`."""
        path = self.path / name
        whole = path.read_text(encoding="utf-8")
        assert whole.count(text) == 1, f"{name} has {whole.count(text)} times: {text}"
        path.write_text(whole.replace(text, other), encoding="utf-8")
        self.touched.add(name)

    def regenerate(self, name: str, *tests: str) -> None:
        """Let tests write a file that they compare, one that is made by nobody's hand."""
        before = (self.path / name).read_bytes() if (self.path / name).exists() else b""
        self.pytest("--regen", *tests)
        assert (self.path / name).read_bytes() != before
        self.touched.add(name)

    def pytest(self, *words: str) -> None:
        """Run tests of the copy, which have to pass."""
        done = self.python("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy, with the copy's package."""
        env = os.environ | {"PYTHONPATH": str(self.path)}
        return subprocess.run([sys.executable, *words], cwd=self.path, env=env, capture_output=True, text=True)
