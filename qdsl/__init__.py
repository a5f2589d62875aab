"""qdsl: recipes in, quantized and audited ONNX models out."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"

# In a source checkout passes/, grammars/ and recipes/ stand beside this directory; installed, they are inside it.
if not (Path(__path__[0]) / "passes").is_dir():
    __path__.append(str(Path(__path__[0]).parent))
