"""What a target computes in integers when activations are quantized while the model runs: no Q/DQ pairs, no data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from qdsl.spec import DTYPES, DType, Granularity, Scheme


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

    name: str
    ops: tuple[str, ...]
    kernel: str
    fused: str
    unshared: str
    activation: DType
    weight: DType
    weight_types: tuple[DType, ...]
    slow: tuple[DType, ...]
    slow_because: str
    least_channels: int
    small_because: str
    most_products: int
    because: str
    evidence: str

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


class TableLike(Protocol):
    """The part of a table being read that is needed here."""

    def text(self, key: str, default: str | None = None) -> str: ...
    def texts(self, key: str) -> tuple[str, ...]: ...
    def sentence(self, key: str) -> str: ...
    def number(self, key: str, default: int | None = None) -> int: ...
    def done(self) -> None: ...
    def fail(self, message: str) -> Exception: ...


def read_dynamic(tables: Iterable[TableLike]) -> tuple[Dynamic, ...]:
    """The rules `[[dynamic]]`. Raises the table's error where one is not well formed."""
    return tuple(_rule(table) for table in tables)


def _rule(table: TableLike) -> Dynamic:
    made = Dynamic(
        name=table.sentence("name"),
        ops=table.texts("ops"),
        kernel=table.sentence("kernel"),
        fused=table.text("fused", ""),
        unshared=table.text("unshared", ""),
        activation=_dtype(table, table.text("activation")),
        weight=_dtype(table, table.text("weight")),
        weight_types=tuple(_dtype(table, word) for word in table.texts("weight_types")),
        slow=tuple(_dtype(table, word) for word in table.texts("slow")),
        slow_because=table.text("slow_because", ""),
        least_channels=table.number("least_channels", 1),
        small_because=table.text("small_because", ""),
        most_products=table.number("most_products"),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    _check(table, made)
    return made


def _check(table: TableLike, made: Dynamic) -> None:
    if not made.ops or made.weight not in made.weight_types:
        raise table.fail("`ops` is empty, or `weight` is none of `weight_types`")
    if bool(made.slow) != bool(made.slow_because):
        raise table.fail("`slow` and `slow_because` go together")
    if bool(made.fused) != bool(made.unshared):
        raise table.fail("`fused` and `unshared` go together")
    if (made.least_channels > 1) != bool(made.small_because):
        raise table.fail("`least_channels` needs `small_because`")


def _dtype(table: TableLike, word: str) -> DType:
    if word not in DTYPES:
        raise table.fail(f"{word!r} is no number type")
    return DTYPES[word]
