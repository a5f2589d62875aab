"""Where the value of a constant lives: in the file, beside it, in memory, or still to be computed.

Each kind is a graphsurgeon LazyValues, so `gs.Constant.values` works on all of them; `Model.values` reads them without
keeping what it read. Integers of 2 and 4 bits are held as int8/uint8 arrays and packed only when written, two or four
to a byte, the first element in the low bits (onnx.in.proto, TensorProto.raw_data).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from qdsl.graph.dtypes import PACKED, bits_of, byte_count, number_of, numpy_type, type_name, type_number
from qdsl.graph.source import state_of

Array = np.ndarray[Any, Any]


class Lazy(LazyValues):  # type: ignore[misc]
    """A constant's value. `element_type` is the ONNX number, `shape` a tuple of ints, `nbytes` the packed size."""

    def __init__(self, element_type: int, shape: tuple[int, ...]) -> None:
        # LazyValues.__init__ is not called: it refuses types that it cannot size.
        self.element_type = element_type
        self.shape = shape
        self.dtype = numpy_type(element_type) or element_type
        self.nbytes = byte_count(element_type, prod(shape)) or 0

    def load(self) -> Array:
        raise NotImplementedError

    def raw(self) -> bytes:
        """The bytes of TensorProto.raw_data."""
        return to_raw(self.load(), self.element_type)

    def chunks(self, size: int = 1 << 24) -> Iterator[bytes]:
        """`raw`, in pieces."""
        data = memoryview(self.raw())
        for start in range(0, len(data), size):
            yield bytes(data[start : start + size])


class Stored(Lazy):
    """A value inside the model file."""

    def __init__(self, tensor: TensorProto) -> None:
        super().__init__(tensor.data_type, tuple(tensor.dims))
        self.tensor = tensor

    def load(self) -> Array:
        if type_name(self.element_type) in PACKED and self.tensor.HasField("raw_data"):
            return from_raw(self.tensor.raw_data, self.element_type, self.shape)
        array = numpy_helper.to_array(self.tensor)
        return array.astype(_held_type(self.element_type)) if type_name(self.element_type) in PACKED else array

    def raw(self) -> bytes:
        return bytes(self.tensor.raw_data) if self.tensor.HasField("raw_data") else super().raw()


class External(Lazy):
    """A value in a file beside the model, already checked to be inside its directory and long enough."""

    def __init__(self, element_type: int, shape: tuple[int, ...], path: Path, offset: int, length: int) -> None:
        super().__init__(element_type, shape)
        self.path = path
        self.state = state_of(path)
        self.offset = offset
        self.nbytes = length

    def load(self) -> Array:
        if self.nbytes == 0:
            return from_raw(b"", self.element_type, self.shape)
        plain = numpy_type(self.element_type)
        if plain is not None:
            return np.memmap(self.path, plain, "r", self.offset, self.shape if self.shape else (1,)).reshape(self.shape)
        return from_raw(b"".join(self.chunks()), self.element_type, self.shape)

    def raw(self) -> bytes:
        return b"".join(self.chunks())

    def chunks(self, size: int = 1 << 24) -> Iterator[bytes]:
        left = self.nbytes
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while left > 0:
                data = file.read(min(size, left))
                if not data:
                    raise OSError(f"{self.path.name} is shorter than it was when the model was loaded")
                left -= len(data)
                yield data


class Widened(Lazy):
    """A value of 16 bits in a file beside the model, as float32 each time it is asked for."""

    def __init__(self, source: External) -> None:
        super().__init__(TensorProto.FLOAT, source.shape)
        self.source = source

    def load(self) -> Array:
        return np.asarray(self.source.load(), np.float32)


def outside(value: Lazy) -> External | None:
    """Where in a file beside the model a value stands; None where it does not."""
    found = value.source if isinstance(value, Widened) else value
    return found if isinstance(found, External) else None


class Held(Lazy):
    """A value in memory with an element type that its array may only stand for (int4 in an int8 array)."""

    def __init__(self, array: Array, element_type: int) -> None:
        super().__init__(element_type, tuple(array.shape))
        self.array = array

    def load(self) -> Array:
        return self.array


class Deferred(Lazy):
    """A value computed each time it is asked for, so that rewriting a large model needs no room for it."""

    def __init__(self, element_type: int, shape: tuple[int, ...], compute: Callable[[], Array]) -> None:
        super().__init__(element_type, shape)
        self.compute = compute

    def load(self) -> Array:
        array = np.asarray(self.compute())
        if tuple(array.shape) != self.shape:
            raise RuntimeError(f"a deferred constant came out as {array.shape}, declared {self.shape}")
        return array


class Sparse(Lazy):
    """A sparse initializer, written back as it came. Its bounds were checked when the model was loaded."""

    def __init__(self, tensor: onnx.SparseTensorProto) -> None:
        super().__init__(tensor.values.data_type, tuple(tensor.dims))
        self.tensor = tensor

    def load(self) -> Array:
        values = numpy_helper.to_array(self.tensor.values).reshape(-1)
        indices = numpy_helper.to_array(self.tensor.indices).astype(np.int64)
        if indices.ndim == 2:
            indices = np.ravel_multi_index(tuple(indices.T), self.shape)
        dense = np.zeros(prod(self.shape), values.dtype)
        dense[indices.reshape(-1)] = values
        return dense.reshape(self.shape)


class Constant(gs.Constant):  # type: ignore[misc]
    """A graphsurgeon constant whose `values` are read each time and not kept: keeping them would forget the element
    type of a 4-bit tensor and fill the memory with weights."""

    @property
    def values(self) -> Array:
        return lazy_of(self).load()

    @values.setter
    def values(self, values: Array | Lazy) -> None:
        self._values = values


def lazy_of(constant: gs.Constant) -> Lazy:
    """The value behind a graphsurgeon constant, whoever made it, without loading it."""
    values = constant._values
    return values if isinstance(values, Lazy) else Held(values, number_of(constant.export_dtype))


def _held_type(element_type: int) -> type[np.signedinteger[Any]] | type[np.unsignedinteger[Any]]:
    return np.uint8 if str(type_name(element_type)).startswith("u") else np.int8


def to_raw(array: Array, element_type: int) -> bytes:
    """Little-endian bytes of `array`, packed when the type has less than 8 bits."""
    name, bits = type_name(element_type), bits_of(element_type) or 8
    if name in PACKED:
        per_byte, mask = 8 // bits, (1 << bits) - 1
        flat = np.asarray(array).astype(np.int8).view(np.uint8).reshape(-1) & np.uint8(mask)
        padded = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
        padded[: flat.size] = flat
        packed = np.zeros(padded.size // per_byte, np.uint8)
        for lane in range(per_byte):
            packed |= padded[lane::per_byte] << np.uint8(lane * bits)
        return packed.tobytes()
    plain = numpy_type(element_type)
    if plain is None:
        return bytes(numpy_helper.from_array(np.asarray(array)).raw_data)
    return np.ascontiguousarray(array, plain.newbyteorder("<")).tobytes()


def from_raw(data: bytes, element_type: int, shape: tuple[int, ...]) -> Array:
    """The array in `data`; 2- and 4-bit integers as int8 or uint8."""
    name, bits = type_name(element_type), bits_of(element_type) or 8
    if name in PACKED:
        count, per_byte = prod(shape), 8 // bits
        packed = np.frombuffer(data, np.uint8)
        lanes = np.stack([(packed >> np.uint8(lane * bits)) & np.uint8((1 << bits) - 1) for lane in range(per_byte)], 1)
        flat = lanes.reshape(-1)[:count]
        if name.startswith("u"):
            return flat.reshape(shape)
        half = 1 << (bits - 1)
        return ((flat.astype(np.int8) ^ np.int8(half)) - np.int8(half)).reshape(shape)
    plain = numpy_type(element_type)
    if plain is not None:
        return np.frombuffer(data, plain.newbyteorder("<")).reshape(shape)
    tensor = TensorProto(data_type=element_type, dims=shape, raw_data=data)
    return numpy_helper.to_array(tensor)


def to_proto(name: str, value: Lazy) -> TensorProto:
    """A TensorProto that holds the value itself. What came in the file is handed back as it was."""
    if isinstance(value, Stored):
        tensor = TensorProto()
        tensor.CopyFrom(value.tensor)
        tensor.name = name
        return tensor
    if value.element_type == type_number("string"):
        return numpy_helper.from_array(value.load(), name)
    return TensorProto(name=name, data_type=value.element_type, dims=value.shape, raw_data=value.raw())
