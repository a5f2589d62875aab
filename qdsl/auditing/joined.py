"""Tensors that share a scale because a node puts them under one."""

from __future__ import annotations

from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit, standing
from qdsl.finished.records import QuantizedTensor


def joined(audited: Audited, record: QuantizedTensor) -> bool:
    """Whether a node reads or writes another tensor beside this one under the very same scale: how wide that is, is
    then decided by all of them."""
    return record.tensor in _shared(audited)


@once_per_audit
def _shared(audited: Audited) -> frozenset[str]:
    stands = standing(audited)
    found: set[str] = set()
    for node in audited.finished.view.nodes:
        if node.name in stands.at:
            continue
        read = (stands.read(node, port) for port in range(len(node.inputs)))
        records = [record for record in read if record is not None]
        for name in node.outputs:
            records += stands.writes.get(name, ())
        groups: dict[str, set[str]] = {}
        for record in records:
            groups.setdefault(record.parameters.key, set()).add(record.tensor)
        for tensors in groups.values():
            if len(tensors) > 1:
                found |= tensors
    return frozenset(found)
