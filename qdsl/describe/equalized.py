"""What `equalize` did to the channels of one node, in words."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.rewrite import Trace


def equalized(trace: Trace, node: str) -> Iterator[tuple[str, str, bool]]:
    """(what, in which words, whether it was done): between which layers channels were scaled, where `node` is one of
    them or stands between; and why those that it writes were not."""
    for step in trace.steps:
        if step.word != "equalize":
            continue
        for fired in step.outcome.fired:
            if node in fired.nodes:
                yield "equalized", f"channels from {fired.nodes[0]} to {fired.nodes[-1]}", True
        for refused in step.outcome.refused:
            if refused.node == node:
                yield "considered", f"equalize: {refused.reason}", False
