"""Units of numbers: one that does not exist, or does not fit what is bounded, is an error at its place."""

from __future__ import annotations

from qdsl.diag import Span
from qdsl.lang import syntax
from qdsl.lang.expect import told
from qdsl.lang.scope import Scope
from qdsl.spec import UNITS


def unit_known(number: syntax.Number, scope: Scope) -> bool:
    """Whether the unit exists, where there is one; an error (unknown-unit) where it does not."""
    if number.unit is None or number.unit in UNITS:
        return True
    scope.unknown("unit", number.unit, number.span, UNITS)
    return False


def unit_fits(number: syntax.Number, measures: str, form: str, scope: Scope) -> bool:
    """Whether the bound of a metric that `measures` this, in this `form`, has a unit that fits; an error (unknown-unit,
    wrong-unit) where it has not."""
    if not unit_known(number, scope):
        return False
    wanted = _fitting(measures, form)
    if number.unit in wanted:
        return True
    _wrong_unit(number, wanted, number.span, scope)
    return False


def _fitting(measures: str, form: str) -> tuple[str | None, ...]:
    """The units a bound may have; None: no unit."""
    own = tuple(name for name, unit in UNITS.items() if unit.measures == measures)
    if form in ("ratio", "speedup"):
        return (None, "%") if form == "ratio" else (None,)
    if form == "drop":
        return (*(("pp",) if measures == "ratio" else own or (None,)), "%")
    if measures == "ratio":
        return (None, "%")
    return (*own, None) if measures in ("rate", "number") else own


def _wrong_unit(got: syntax.Number, wanted: tuple[str | None, ...], span: Span, scope: Scope) -> None:
    names = [f"`{unit}`" if unit else "no unit" for unit in wanted]
    said = f"the unit `{got.unit}` does not fit here" if got.unit else "this number needs a unit"
    cures = ('"pp" is percentage points; "%" after `drop` is relative to the float model',) if "pp" in wanted else ()
    scope.error("wrong-unit", said, span, f"expected {told(names, 'or')}", cures)
