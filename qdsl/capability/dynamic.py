"""What a target computes in integers when activations are quantized while the model runs: no Q/DQ pairs, no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec import DType, Granularity, Scheme
from qdsl.spec.bounds import Sentence, SomeTexts, Whole


@dataclass(frozen=True, slots=True)
class Dynamic:
    """One rule of a table: the kernel for `ops`, which reads its first input quantized at run time.

    `activation` is the type that is found at run time, affine and per tensor. `weight` is what `8 bit` means here, of
    the `weight_types` that run; `slow` are those of them that are correct but slow, `slow_because` says how slow.
    `least_channels`: with fewer input or output channels per group than this, or fewer rows or columns of a matrix, the
    integers cost more time than they save; such nodes stay float unless a rule asks for them. `most_products` is the
    number of products that an int32 sum can take. `fused` is the kernel that the runtime makes of the product and its
    scaling ("": none), `unshared` the one where no other node reads the quantized tensor; both take the addition of a
    vector that follows in.
    """

    name: Sentence
    ops: SomeTexts
    kernel: Sentence
    activation: DType
    weight: DType
    weight_types: tuple[DType, ...]
    most_products: Annotated[int, Whole(1)]
    because: Sentence
    evidence: Sentence
    fused: str = ""
    unshared: str = ""
    slow: tuple[DType, ...] = ()
    slow_because: str = ""
    least_channels: Annotated[int, Whole(1)] = 1
    small_because: str = ""

    def problem(self) -> str:
        """What is wrong with a row as a whole, "" for nothing."""
        if self.weight not in self.weight_types:
            return "`weight` is none of `weight_types`"
        if bool(self.slow) != bool(self.slow_because):
            return "`slow` and `slow_because` go together"
        if bool(self.fused) != bool(self.unshared):
            return "`fused` and `unshared` go together"
        if (self.least_channels > 1) != bool(self.small_because):
            return "`least_channels` needs `small_because`"
        return ""

    def complete(
        self, dtype: DType, symmetric: bool | None, granularity: Granularity | None
    ) -> tuple[bool, Granularity]:
        """What a request leaves open: one scale per channel, whose zero points must be alike and so in the middle of
        the type; over a whole tensor an unsigned type is affine."""
        chosen = granularity or (Granularity.PER_TENSOR if symmetric is False else Granularity.PER_CHANNEL)
        if symmetric is None:
            symmetric = chosen is not Granularity.PER_TENSOR or dtype.signed
        return symmetric, chosen

    def refusal(self, scheme: Scheme) -> str | None:
        """Why the kernel does not take a weight stored like this; None when it does."""
        if scheme.dtype not in self.weight_types:
            return f"{self.kernel} reads weights of {' or '.join(t.name for t in self.weight_types)}"
        if scheme.granularity is Granularity.PER_BLOCK:
            return f"{self.kernel} has no scales per block"
        if scheme.granularity is Granularity.PER_CHANNEL and not scheme.symmetric:
            return f"{self.kernel} has one zero point for all channels: per_channel weights are symmetric"
        return None
