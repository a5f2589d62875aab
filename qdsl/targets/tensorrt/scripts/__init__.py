"""Scripts that go beside an emitted model as they are: Python 3.10, the standard library, and tensorrt."""
