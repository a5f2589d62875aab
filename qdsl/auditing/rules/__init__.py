"""The rules of the audit, one file each, found by `qdsl.auditing.index`."""
