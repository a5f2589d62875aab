"""A DequantizeLinear whose values nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import DEQUANTIZERS, standing, unread
from qdsl.auditing.telling import shown
from qdsl.diag import Severity


class Check:
    id: ClassVar[str] = "dangling_dequantizer"
    summary: ClassVar[str] = "a DequantizeLinear whose values nobody reads"
    explanation: ClassVar[str] = (
        "No runtime removes it: it runs at every inference. An int8 pair counts it as one more reader, and ONNX "
        "Runtime turns int8 into the uint8 that its kernels read only where one DequantizeLinear reads a pair."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        view = audited.finished.view
        for node in view.nodes:
            if node.op not in DEQUANTIZERS or not unread(view, node):
                continue
            record = standing(audited).at.get(node.name)
            yield Finding(
                self.id,
                Severity.WARNING,
                Place("node", node.name),
                f"nobody reads what {shown(node.name)} dequantizes",
                "it runs at every inference, for nothing",
                fix=Fix(rewrite="dangling_nodes", exact=True),
                origin=record.origin if record is not None else "",
            )
