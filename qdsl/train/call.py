"""What a kernel is given: the node, and the tensors at its ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from qdsl.train.operation import Operation

Results: TypeAlias = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One node with its inputs. Kernels read attributes by their kind: `whole` and `wholes` are integers, `real` is a
    float. `floats` is the type that float32 is computed in (float32, or float64 for an executor of double
    precision), by its name. Of quantization alone: `carried` the type of the integers that the node writes or reads,
    `straight` whether gradients between are those of values, `learned` whether its scale is learned, `stored` whether
    it reads a constant. `batch`: where more samples run than the graph is written for, both numbers."""

    operation: Operation
    inputs: tuple[Tensor | None, ...]
    floats: str = "float32"
    carried: str = ""
    straight: bool = False
    learned: bool = False
    stored: bool = False
    batch: tuple[int, int] | None = None

    @property
    def opset(self) -> int:
        return self.operation.opset

    def tensor(self, port: int = 0) -> Tensor:
        """The input at `port`, which has to be there. Raises ValueError."""
        found = self.optional(port)
        if found is None:
            raise ValueError(f"no tensor at input {port}")
        return found

    def optional(self, port: int) -> Tensor | None:
        """The input at `port`; None where nothing stands."""
        return self.inputs[port] if port < len(self.inputs) else None

    def present(self) -> list[Tensor]:
        """All inputs that are there."""
        return [tensor for tensor in self.inputs if tensor is not None]

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.operation.attributes.get(name, default)

    def whole(self, name: str, default: int) -> int:
        return int(self.attribute(name, default))

    def real(self, name: str, default: float) -> float:
        return float(self.attribute(name, default))

    def text(self, name: str, default: str) -> str:
        return str(self.attribute(name, default))

    def wholes(self, name: str) -> list[int] | None:
        """A list of integers; None where the attribute is not there."""
        found = self.attribute(name)
        return None if found is None else [int(value) for value in found]

    def numbers_at(self, port: int) -> list[int] | None:
        """The input at `port` as a list of integers; None where nothing stands."""
        found = self.optional(port)
        return None if found is None else [int(value) for value in found.reshape(-1).tolist()]

    def wholes_or_port(self, name: str, port: int) -> list[int] | None:
        """Integers that older opsets have as an attribute and newer ones as an input."""
        found = self.wholes(name)
        return self.numbers_at(port) if found is None else found
