"""One strict reading of JSON and TOML into dataclasses: nothing is passed over, nothing is taken on trust.

A dataclass says which keys there are and what each holds; `Annotated`, with the words of `qdsl.spec.bounds`, narrows
what a type alone would take, or says how a value stands in the data. A method `problem`, where a dataclass has one,
says what is wrong with its values together ("" for nothing). What does not fit is told with its path:
`builds.ort.seconds[3]: expected a number from 0 to 1e+06, found -1.0`.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import repeat
from types import NoneType, UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from qdsl.spec.bounds import (
    ASIDE,
    LARGEST,
    SHOWN,
    SPARE,
    Check,
    Keyed,
    Many,
    Match,
    Number,
    OneOf,
    Stands,
    Text,
    UnfitError,
    Via,
    Whole,
    shown,
)
from qdsl.spec.dtypes import DTYPES, DType

T = TypeVar("T")
Read = Callable[[Any], Any]


# ---- text to plain data, plain data to a dataclass -------------------------------------------------------------------


def json_data(text: str, most: int = 1 << 28) -> Any:
    """Plain data out of at most `most` characters of JSON, by the letter: no NaN or Infinity, no key twice. Raises
    UnfitError."""
    try:
        return json.loads(_bounded(text, most), parse_constant=_no_constant, object_pairs_hook=_once)
    except UnfitError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"it is not JSON: {_reason(error)}") from None


def toml_data(text: str, most: int = 1 << 20) -> dict[str, Any]:
    """The same out of TOML."""
    try:
        return tomllib.loads(_bounded(text, most))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UnfitError(f"it is not TOML: {_reason(error)}") from None


def require_version(data: Any, key: str, wanted: int) -> dict[str, Any]:
    """The data without its version, which stands under `key`. Raises UnfitError where that is another or missing: what
    does not fit because it is older or newer is told as that."""
    if not isinstance(data, dict):
        raise UnfitError(f"expected an object, found {shown(data)}")
    found = data.get(key)
    if type(found) is not int or found != wanted:
        known = f"it is of {key} {str(found)[:20]}" if key in data else f"it has no {key}"
        raise UnfitError(f"{known}, this program reads {key} {wanted}")
    return {name: value for name, value in data.items() if name != key}


def decode(kind: type[T], data: Any, where: str = "", *, defaults: bool = False) -> T:
    """What plain data says of a dataclass, or of any other type that fields may have. `where` is what paths begin with;
    `defaults`: fields that have one may be left out. Raises UnfitError."""
    try:
        return cast(T, _reader(cast(Any, kind), defaults)(data))
    except UnfitError as error:
        raise error.under(where) from None


def _bounded(text: str, most: int) -> str:
    if len(text) > most:
        raise UnfitError(f"it is larger than {most >> 20} MiB")
    return text


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _no_constant(word: str) -> NoReturn:
    raise UnfitError(f"{word} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UnfitError(f"{twice[:SHOWN]!r} stands twice in one object")
    return found


# ---- a reader for each type ------------------------------------------------------------------------------------------


@cache
def _reader(kind: Any, defaults: bool) -> Read:
    """A function that checks and reads a value of `kind`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(inner[0], kind.__metadata__, defaults)
    if origin in (Union, UnionType):
        (some,) = (_reader(each, defaults) for each in inner if each is not NoneType)
        return lambda value: None if value is None else some(value)
    if origin is tuple and inner[-1] is Ellipsis:
        return _list(_reader(inner[0], defaults))
    if origin is tuple:
        return _row([_reader(each, defaults) for each in inner])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _object(_reader(inner[0], defaults), _reader(inner[1], defaults))
    return _single(kind, defaults)


def _single(kind: Any, defaults: bool) -> Read:
    if kind is DType:
        return _via(OneOf(DTYPES).read, DTYPES.__getitem__)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _via(OneOf(tuple(member.value for member in kind)).read, kind)
    if is_dataclass(kind):
        return _dataclass(kind, defaults)
    return _SCALARS[kind]


def _annotated(kind: Any, marks: tuple[Any, ...], defaults: bool) -> Read:
    read: Read | None = None
    for mark in marks:
        if isinstance(mark, Whole | Number | Text | Match | OneOf):
            read = mark.read
        elif isinstance(mark, Keyed):
            read = _keyed(get_args(kind)[0], mark.name, defaults)
        elif isinstance(mark, Via):
            read = _via(_reader(mark.kind, defaults), mark.make)
        elif isinstance(mark, Check | Many):
            read = _checked(read or _reader(kind, defaults), mark.problem)
    return read or _reader(kind, defaults)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitError(f"expected true or false, found {shown(value)}")
    return value


_SCALARS: dict[Any, Read] = {
    int: Whole(-LARGEST).read,
    float: Number().read,
    str: Text().read,
    bool: _flag,
    Any: lambda value: value,
}


def _via(inner: Read, make: Callable[[Any], Any]) -> Read:
    def read(value: Any) -> Any:
        found = inner(value)
        try:
            return make(found)
        except UnfitError:
            raise
        except ValueError as error:
            raise UnfitError(str(error)) from None

    return read


def _checked(inner: Read, problem: Callable[[Any], str]) -> Read:
    def read(value: Any) -> Any:
        found = inner(value)
        wrong = problem(found)
        if wrong:
            raise UnfitError(wrong)
        return found

    return read


def _list(inner: Read) -> Read:
    def read(value: Any) -> tuple[Any, ...]:
        return tuple(_each(_items(value), repeat(inner)))

    return read


def _row(parts: Sequence[Read]) -> Read:
    def read(value: Any) -> tuple[Any, ...]:
        if len(_items(value)) != len(parts):
            raise UnfitError(f"expected {len(parts)} values, found {len(value)}")
        return tuple(_each(value, parts))

    return read


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UnfitError(f"expected a list, found {shown(value)}")
    return value


def _each(items: list[Any], parts: Iterable[Read]) -> list[Any]:
    found: list[Any] = []
    try:
        for item, part in zip(items, parts):  # noqa: B905 (one reader may be repeated without end)
            found.append(part(item))
    except UnfitError as error:
        raise error.under(f"[{_label(items[len(found)], len(found))}]") from None
    return found


def _label(item: Any, at: int) -> str:
    """What an entry of a list is called: by its name where it has one."""
    name = item.get("name") if isinstance(item, dict) else None
    return name[:SHOWN] if name and isinstance(name, str) else str(at)


def _entries(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError(f"expected an object, found {shown(value)}")
    return value


def _object(key: Read, inner: Read) -> Read:
    def read(value: Any) -> dict[Any, Any]:
        found = {}
        name = ""
        try:
            for name, item in _entries(value).items():
                found[key(name)] = inner(item)
        except UnfitError as error:
            raise error.under(f".{name}" if name else "") from None
        if len(found) != len(value):
            raise UnfitError("two keys mean the same")
        return found

    return read


def _keyed(kind: Any, name: str, defaults: bool) -> Read:
    """Where an entry has the field itself, too, it has to be the key."""
    inner = _object(_SCALARS[str], lambda entry: entry)
    one = _reader(kind, defaults)

    def read(value: Any) -> tuple[Any, ...]:
        found = []
        for key, entry in inner(value).items():
            try:
                if _entries(entry).get(name, key) != key:
                    raise UnfitError(f"expected {key[:SHOWN]!r}", f".{name}")
                found.append(one({**entry, name: key}))
            except UnfitError as error:
                raise error.under(f".{key}") from None
        return tuple(found)

    return read


def _dataclass(kind: Any, defaults: bool) -> Read:
    hints = get_type_hints(kind, include_extras=True)
    parts: dict[str, tuple[str, Read]] = {}
    needed = set()
    for field in fields(kind):
        marks = getattr(hints[field.name], "__metadata__", ())
        if not field.init or ASIDE in marks:
            continue
        key = next((mark.name for mark in marks if isinstance(mark, Stands)), field.name)
        parts[key] = field.name, _reader(hints[field.name], defaults)
        default = field.default is not MISSING or field.default_factory is not MISSING
        if not (default and (defaults or SPARE in marks)):
            needed.add(key)

    def read(value: Any) -> Any:
        _require_keys(_entries(value), parts.keys(), needed)
        found = {}
        key = ""
        try:
            for key, item in value.items():
                name, part = parts[key]
                found[name] = part(item)
        except UnfitError as error:
            raise error.under(f".{key}") from None
        return kind(**found)

    return _checked(read, kind.problem) if hasattr(kind, "problem") else read


def _require_keys(found: Mapping[str, Any], known: Collection[str], needed: Collection[str]) -> None:
    unknown = next((key for key in found if key not in known), None)
    if unknown is not None:
        raise UnfitError(f"unknown key `{unknown[:SHOWN]}`: expected {', '.join(known)}")
    missing = next((key for key in known if key in needed and key not in found), None)
    if missing is not None:
        raise UnfitError(f"the key `{missing}` is missing")
