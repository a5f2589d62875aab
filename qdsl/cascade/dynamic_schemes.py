"""Types in a dynamic build: activations as DynamicQuantizeLinear writes them, weights as each kernel reads them."""

from __future__ import annotations

from dataclasses import dataclass, field

from qdsl.capability import ACTIVATION, Capability, Dynamic
from qdsl.cascade.cascade import Resolved
from qdsl.cascade.rule_words import table_default
from qdsl.cascade.schemes import Chosen, Schemes
from qdsl.diag import Diagnostics
from qdsl.lang.recipe import TypeRequest
from qdsl.spec import DType, Granularity, Scheme

_BITS = 8


@dataclass
class DynamicSchemes(Schemes):
    """`Schemes` for a dynamic build: activations have one form, found at run time."""

    def _scheme(self, role: str, request: TypeRequest | None) -> Scheme | None:
        if role != ACTIVATION:
            return super()._scheme(role, request)
        dtype = self.capability.dynamic[0].activation
        scheme = Scheme(dtype, False, Granularity.PER_TENSOR)
        if request is None or _is_that(request, dtype):
            return scheme
        if request.dtype is not None and request.dtype.name == "float32":
            return None
        self.diags.error(
            "target-cannot",
            f"activations quantized at run time are {scheme}",
            request.span,
            label="DynamicQuantizeLinear writes nothing else",
            help=[f"write `activations {dtype}`, or `quantize static` for other types"],
        )
        return scheme


def _is_that(request: TypeRequest, dtype: DType) -> bool:
    typed = request.dtype is dtype if request.dtype is not None else request.bits in (None, dtype.bits)
    grained = request.granularity in (None, Granularity.PER_TENSOR)
    return typed and grained and not request.symmetric and not request.reduce_range and not request.storage_only


@dataclass
class WeightSchemes:
    """Completes requests for weights by the rule of the table that computes with them. Each distinct request is judged
    once per rule; refusals go to `diags`."""

    capability: Capability
    diags: Diagnostics
    _known: dict[tuple[str, TypeRequest | None], Scheme | None] = field(default_factory=dict)

    def weight(self, rule: Dynamic, asked: Resolved) -> Chosen:
        """The scheme for `rule`; None stands for float32, by request or after a refusal."""
        request = asked.value if isinstance(asked.value, TypeRequest) else None
        key = (rule.name, request)
        if key not in self._known:
            self._known[key] = self._scheme(rule, request)
        last = asked.voices[-1] if asked.voices else None
        origin = last.origin if last else table_default(self.capability.name)
        return Chosen(self._known[key], origin, asked.explicit, last.span if last else None)

    def _scheme(self, rule: Dynamic, request: TypeRequest | None) -> Scheme | None:
        if request is None:
            return Scheme(rule.weight, *rule.complete(rule.weight, None, None))
        if request.dtype is not None and request.dtype.name == "float32":
            return None
        bits = request.bits or _BITS
        dtype = request.dtype or rule.weight
        if request.storage_only:
            self._refuse(rule, f"{dtype} storage_only", request, "a dynamic build computes with what it stores")
            return None
        if not dtype.integer or (request.dtype is None and bits > dtype.bits):
            what = f"{bits} bit" if dtype.integer else dtype.name
            self._refuse(rule, what, request, f"{rule.kernel} reads weights of {_types(rule)}")
            return None
        symmetric, granularity = rule.complete(dtype, request.symmetric, request.granularity)
        scheme = Scheme(
            dtype,
            symmetric,
            granularity,
            request.block,
            bool(request.reduce_range),
            emulated_bits=bits if request.dtype is None and bits != dtype.bits else None,
        )
        why = rule.refusal(scheme)
        if why is not None:
            self._refuse(rule, str(scheme), request, why)
            return None
        return scheme

    def _refuse(self, rule: Dynamic, what: str, request: TypeRequest, because: str) -> None:
        self.diags.error(
            "target-cannot",
            f"{self.capability.title} does not compute with {what} weights in a dynamic build",
            request.span,
            label=because,
            help=[f"weights of {', '.join(rule.ops)} that run here: {_types(rule)}"],
        )


def _types(rule: Dynamic) -> str:
    return ", ".join(dtype.name for dtype in rule.weight_types)
