"""From what a recipe asks of a type to a whole scheme, held against what the target can do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from qdsl.capability import ACTIVATION, WEIGHT, Capability
from qdsl.cascade.cascade import Resolved
from qdsl.cascade.rule_words import table_default
from qdsl.diag import Diagnostics, Span
from qdsl.lang.recipe import TypeRequest
from qdsl.spec import DType, Granularity, Scheme
from qdsl.spec.plan import Origin

_DEFAULT_BITS = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """A scheme and the statement that decided it last. `scheme` None: no integers, which is float32 by request, or
    float16 where `half` is set. `explicit`: a `layers` rule decided, not the mode or the table. `span` is None for a
    default."""

    scheme: Scheme | None
    origin: Origin
    explicit: bool
    span: Span | None
    float16: bool = False


@dataclass
class Schemes:
    """Completes requests by the target's table. Each distinct request is judged once; refusals go to `diags`.

    `floats` is the origin of `quantize float` where that is the mode: what nobody speaks of then stays float32, and
    whether integer weights run is a matter of each node (`qdsl.plan.weight_only`)."""

    capability: Capability
    diags: Diagnostics
    floats: Origin | None = None
    _known: dict[tuple[str, TypeRequest | None], Scheme | None] = field(default_factory=dict)
    _answers: dict[tuple[str, int], tuple[Resolved, Chosen]] = field(default_factory=dict)

    def weights(self, asked: Resolved) -> Chosen:
        return self._chosen(WEIGHT, asked)

    def activations(self, asked: Resolved) -> Chosen:
        return self._chosen(ACTIVATION, asked)

    def _chosen(self, role: str, asked: Resolved) -> Chosen:
        # The cascade hands out one object per chain, so its identity stands for it; holding it keeps the identity.
        key = (role, id(asked))
        if key not in self._answers:
            self._answers[key] = (asked, self._choose(role, asked))
        return self._answers[key][1]

    def _choose(self, role: str, asked: Resolved) -> Chosen:
        request = asked.value if isinstance(asked.value, TypeRequest) else None
        key = (role, request)
        if key not in self._known:
            self._known[key] = self._scheme(role, request)
        last = asked.voices[-1] if asked.voices else None
        origin = last.origin if last else self.floats or table_default(self.capability.name)
        half = request is not None and request.dtype is not None and request.dtype.name == "float16"
        return Chosen(self._known[key], origin, asked.explicit, last.span if last else None, half)

    def _scheme(self, role: str, request: TypeRequest | None) -> Scheme | None:
        """The scheme, or None for float32; a refused request is reported and stands as asked, so that the rest of the
        plan can still be looked at."""
        if request is None:
            return None if self.floats else self.capability.complete(role, self._width(role, _DEFAULT_BITS))
        if request.dtype is not None and not request.dtype.quantized:
            self._judge_float(role, request)
            return None
        scheme = self._integer(role, request)
        if scheme is not None:
            self._judge(role, scheme, request)
        return scheme

    def _integer(self, role: str, request: TypeRequest) -> Scheme | None:
        bits = request.bits or _DEFAULT_BITS
        dtype = request.dtype or self._storage(role, bits)
        if dtype is None:
            self._refuse(role, f"{bits} bit", "no stored type is that wide", request.span)
            return None
        scheme = self.capability.complete(
            role,
            dtype,
            symmetric=request.symmetric,
            granularity=request.granularity,
            block=request.block if request.granularity in (None, Granularity.PER_BLOCK) else None,
            reduce_range=bool(request.reduce_range),
            storage_only=bool(request.storage_only),
        )
        emulated = request.dtype is None and bits != dtype.bits
        return replace(scheme, emulated_bits=bits) if emulated else scheme

    def _width(self, role: str, bits: int) -> DType:
        return self.capability.widths[role][bits]

    def _storage(self, role: str, bits: int) -> DType | None:
        """The target's type for `bits`: the width itself, or else the next wider one that it computes in. A narrow
        type of weights makes the file small; one of activations that nothing computes in serves nobody.
        """
        widths, executed = self.capability.widths[role], self.capability.executed_types(role)
        wider = [widths[w] for w in sorted(widths) if w > bits]
        computed = [dtype for dtype in wider if dtype in executed]
        if bits in widths and (role == WEIGHT or widths[bits] in executed or not computed):
            return widths[bits]
        return next(iter(computed or wider), None)

    def _judge(self, role: str, scheme: Scheme, request: TypeRequest) -> None:
        deferred = self.floats is not None or self.capability.stands_alone(scheme.dtype)
        if role == WEIGHT and deferred and not self.capability.unread(role, scheme):
            return  # whether it runs is a matter of each node
        lacking = self.capability.not_emulated if role == ACTIVATION and scheme.emulated_bits else ""
        if lacking:
            self._refuse(role, f"{scheme.emulated_bits} bit", lacking, request.span)
            return
        verdict = self.capability.accepts(role, scheme)
        if verdict.executed or (verdict.storable and scheme.storage_only):
            return
        cures = ["add `storage_only` to store the type and compute in float"] if verdict.storable else []
        self._refuse(role, str(scheme), verdict.because, request.span, cures)

    def _judge_float(self, role: str, request: TypeRequest) -> None:
        """float16 is a matter of whole nodes: of `quantize float`, or of `keep X in float16`."""
        assert request.dtype is not None
        able = bool(self.capability.halves)
        if request.dtype.name == "float32" or (self.floats and able):
            return
        row = self.capability.type_row(request.dtype)
        because = row.because if row else "the target's table has no such type"
        cures = (
            ["`keep X in float16` leaves nodes X in float16", "`quantize float` makes a float16 build"] if able else []
        )
        self._refuse(role, request.dtype.name, because, request.span, cures)

    def _refuse(self, role: str, what: str, because: str, span: Span, cures: list[str] | None = None) -> None:
        allowed = ", ".join(t.name for t in self.capability.executed_types(role))
        plural = "weights" if role == WEIGHT else "activations"
        self.diags.error(
            "target-cannot",
            f"{self.capability.title} does not compute with {what} {plural}",
            span,
            label=because,
            help=[f"{plural} that run here: {allowed}", *(cures or [])],
        )
