"""Bodies of If, Loop and Scan in which something is quantized."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty
from qdsl.diag import Severity


class Check(Faulty):
    id: ClassVar[str] = "unread_body"
    summary: ClassVar[str] = "nodes in a body of If, Loop or Scan quantize, and are not looked at"
    explanation: ClassVar[str] = (
        "The bodies of If, Loop and Scan are graphs of their own, which the audit does not read: what it says of the "
        "file holds for the nodes outside them. Move what is quantized out of the body, or audit the body as a model."
    )
    severity: ClassVar[Severity] = Severity.NOTE
    comes_of_it: ClassVar[str] = "nothing is said of what these nodes do"
