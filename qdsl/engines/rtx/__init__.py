"""NVIDIA's TensorRT-RTX as a check that needs no GPU and no driver: what its parser refuses of a file, whether its
builder builds it, and what each node that multiplies computes in. Nothing is run.

It is proprietary, and no part of qdsl: the extra `rtx` installs it, or `python -m qdsl.engines.rtx.get` into an
environment of its own, and whoever does accepts NVIDIA's licence. It is only ever loaded by `child.py`, in a process
of its own with a time limit, since some graphs end the process.
"""
