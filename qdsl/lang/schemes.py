"""`weights`, `activations`, `calibrate` and `range`: what `quantize` and `layers` blocks say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdsl.lang import syntax
from qdsl.lang.recipe import Calibrate, FixedRange, Settings, TypeRequest
from qdsl.lang.scope import Scope, shown
from qdsl.lang.values import Misfit, fit, misfit, number, table, whole
from qdsl.lang.vocabulary import METHODS, SCHEME_WORDS, TYPES, Row
from qdsl.spec import DTYPES, DType, Granularity

_WIDTHS = range(2, 17)


def settings(block: str, body: Sequence[syntax.Setting], scope: Scope) -> Settings:
    """The settings of a `quantize` or `layers` block; what is wrong is reported and left out."""
    found: dict[str, Any] = {}
    for setting, forms in table(block, body, scope):
        name = setting.word.name
        if name in ("weights", "activations"):
            found[name] = type_request(setting, block, scope)
        elif name == "calibrate":
            found[name] = _calibrate(setting, forms, scope)
        else:
            found[name] = _range(setting, forms, scope)
    return Settings(**found)


def dtype(value: syntax.Value, scope: Scope) -> DType | None:
    """A number type by name; None, with an error, when there is none."""
    got = scope.value(value)
    if isinstance(got, syntax.Word) and got.name in DTYPES:
        return DTYPES[got.name]
    if isinstance(got, syntax.Word):
        scope.unknown("type", got.name, got.span, TYPES)
    elif got is not None:
        scope.error("setting-value", f"`{shown(got)}` is not a number type", got.span, "expected a type such as `int8`")
    return None


def _single(setting: syntax.Setting, block: str, scope: Scope) -> list[syntax.Value] | None:
    """The values of a setting that takes no commas, parameters replaced."""
    if len(setting.groups) > 1:
        extra = setting.groups[1]
        misfit(setting.word, extra, Misfit(0, ()), block, scope)
        return None
    return scope.values(setting.groups[0])


def type_request(setting: syntax.Setting, block: str, scope: Scope) -> TypeRequest | None:
    """`int8 symmetric per_channel`, `8 bit`: a type or a width, then words in any order."""
    values = _single(setting, block, scope)
    if values is None:
        return None
    if not values:
        misfit(setting.word, values, Misfit(0, ("TYPE",)), block, scope)
        return None
    found: dict[str, Any] = {}
    if not _type(values[0], found, scope):
        return None
    position = 1
    while position < len(values):
        step = _flag(setting, values, position, found, block, scope)
        if step is None:
            return None
        position += step
    kind = found.get("dtype")
    if kind is not None and not kind.quantized and len(found) > 1 + ("storage_only" in found):
        words = ", ".join(shown(v) for v in values[1:])
        scope.error("contradiction", f"`{kind.name}` is not quantized", values[1].span, f"it has no {words}")
        return None
    if kind is not None and not kind.integer and (found.get("symmetric") is False or found.get("reduce_range")):
        words = "zero point" if found.get("symmetric") is False else "range to halve"
        scope.error("contradiction", f"`{kind.name}` is a float type", setting.span, f"it has no {words}")
        return None
    return TypeRequest(setting.span, level=scope.level(setting.span), **found)


def _type(value: syntax.Value, found: dict[str, Any], scope: Scope) -> bool:
    if not isinstance(value, syntax.Number):
        kind = dtype(value, scope)
        found["dtype"] = kind
        return kind is not None
    if value.unit == "bit" and isinstance(value.value, int) and value.value in _WIDTHS:
        found["bits"] = value.value
        return True
    label = f"expected {_WIDTHS[0]} to {_WIDTHS[-1]} `bit`, or a type such as `int8`"
    scope.error("setting-value", f"`{shown(value)}` is not a width", value.span, label)
    return False


def _flag(
    setting: syntax.Setting, values: list[syntax.Value], at: int, found: dict[str, Any], block: str, scope: Scope
) -> int | None:
    """Read one word of a scheme; how many values it took, or None after an error."""
    value = values[at]
    if not isinstance(value, syntax.Word) or value.name not in SCHEME_WORDS:
        misfit(setting.word, values, Misfit(at, SCHEME_WORDS), block, scope)
        return None
    step, told = 1, dict(_SAYS[value.name])
    if value.name == "per_block":
        block_size = whole(values[at + 1], 1) if at + 1 < len(values) else None
        if block_size is None:
            misfit(setting.word, values, Misfit(at + 1, ("N",)), block, scope)
            return None
        step, told["block"] = 2, block_size
    if set(told) & set(found):
        scope.error("contradiction", f"`{value.name}` after an opposite word", value.span, "this was said before")
        return None
    found.update(told)
    return step


_SAYS: dict[str, dict[str, Any]] = {
    "symmetric": {"symmetric": True},
    "affine": {"symmetric": False},
    "per_tensor": {"granularity": Granularity.PER_TENSOR},
    "per_channel": {"granularity": Granularity.PER_CHANNEL},
    "per_block": {"granularity": Granularity.PER_BLOCK},
    "reduce_range": {"reduce_range": True},
    "storage_only": {"storage_only": True},
}


def _calibrate(setting: syntax.Setting, forms: tuple[Row, ...], scope: Scope) -> Calibrate | None:
    """`METHOD [P] [symmetric] [on D]`, where only percentile takes P and symmetric; or `from cache "FILE"`."""
    block = forms[0].block
    values = _single(setting, block, scope)
    if values is None:
        return None
    if _is_word(values, 0, "from"):
        return _from_cache(setting, forms, scope)
    if not values or not isinstance(values[0], syntax.Word):
        misfit(setting.word, values, Misfit(0, ("METHOD",)), block, scope)
        return None
    method = scope.one_of("method", values[0], METHODS)
    if method is None:
        return None
    position, share, symmetric = 1, None, False
    if method == "percentile":
        share = _share(setting, values, block, scope)
        if share is None:
            return None
        symmetric = _is_word(values, 2, "symmetric")
        position = 3 if symmetric else 2
    data: str | None = None
    on = _is_word(values, position, "on")
    if on and position + 1 < len(values):
        data = data_name(values[position + 1], scope)
        if data is None:
            return None
    end = position + 2 * on
    if len(values) != end:
        options = () if on else ("symmetric", "on") if share is not None and not symmetric else ("on",)
        misfit(setting.word, values, Misfit(end, options) if len(values) > end else Misfit(end, ("D",)), block, scope)
        return None
    return Calibrate(method, setting.span, share, symmetric, data, scope.level(setting.span))


def _from_cache(setting: syntax.Setting, forms: tuple[Row, ...], scope: Scope) -> Calibrate | None:
    got = fit(setting, [form for form in forms if form.takes.startswith("from ")], scope)
    if got is None:
        return None
    written = str(got[0][-1])
    level, path = scope.level(setting.span), scope.path(written, setting.span)
    return Calibrate("cache", setting.span, level=level, cache=written, cache_path=path)


def _is_word(values: list[syntax.Value], at: int, name: str) -> bool:
    value = values[at] if at < len(values) else None
    return isinstance(value, syntax.Word) and value.name == name


def _share(setting: syntax.Setting, values: list[syntax.Value], block: str, scope: Scope) -> float | None:
    """The P of `percentile P`."""
    share = number(values[1]) if len(values) > 1 else None
    if share is None:
        misfit(setting.word, values, Misfit(1, ("F",)), block, scope)
        return None
    if not 50 < share <= 100:
        scope.error("setting-value", "a percentile lies between 50 and 100", values[1].span, "expected such as 99.99")
        return None
    return float(share)


def data_name(value: syntax.Value, scope: Scope) -> str | None:
    """The name of a dataset that the recipe defines; None, with an error, when it does not."""
    if not isinstance(value, syntax.Word):
        label = "expected the name of a dataset"
        scope.error("setting-value", f"`{shown(value)}` is not a name", value.span, label)
        return None
    if value.name not in scope.data:
        scope.unknown("data", value.name, value.span, scope.data)
        return None
    return value.name


def _range(setting: syntax.Setting, forms: tuple[Row, ...], scope: Scope) -> FixedRange | None:
    got = fit(setting, forms, scope)
    if got is None:
        return None
    numbers = got[0]
    if len(numbers) != 2 or not float(numbers[0]) < float(numbers[1]):
        headline = "`range` takes the lowest and the highest value"
        scope.error("setting-value", headline, setting.groups[0][0].span, "expected [low, high]", ("range [0, 6]",))
        return None
    return FixedRange(float(numbers[0]), float(numbers[1]), setting.span, scope.level(setting.span))
