"""Values of Python as C text, and names of a model within it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qdsl.targets.stm32.c.literals import array, floating, quoted, told, whole
from qdsl.targets.stm32.c.records import Constant


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 16.0, 0.1, 1 / 3, 1e-45, 1e-40, 3.4028234e38, -2.5])
def test_a_float_is_written_exactly(value: float) -> None:
    text = floating(value)
    assert text.endswith("f") and np.float32(float.fromhex(text[:-1])).tobytes() == np.float32(value).tobytes()


def test_what_is_no_number_is_no_literal() -> None:
    assert (floating(math.inf), floating(-math.inf)) == ("INFINITY", "-INFINITY")
    with pytest.raises(ValueError, match="not a number"):
        floating(math.nan)


def test_the_lowest_integer_is_an_expression() -> None:
    assert whole(-(2**31)) == "(-2147483647 - 1)" and whole(2**31 - 1) == "2147483647"


@pytest.mark.parametrize("name", ['a"b', "a\\", "??/", "é", "a\nb", "\0", "%d"])
def test_a_name_is_one_string_of_c(name: str) -> None:
    text = quoted(name)
    assert text.isascii() and text.isprintable() and "?" not in text
    inside = text[1:-1].encode().decode("unicode_escape").encode("latin-1")
    assert inside.decode() == name and '"' not in text[1:-1]


@pytest.mark.parametrize("name", ["*/ x", "/* x", "//", "a\\\nb", "*" * 300 + "/", "conv*/*/"])
def test_a_name_ends_no_comment(name: str) -> None:
    text = told(name)
    assert not {"*", "\\", "\n"} & set(text) and "//" not in text and len(text) <= 100


def test_an_array_has_all_its_values_in_order() -> None:
    values = np.arange(-20, 25, dtype=np.int8).reshape(3, 15)
    text = array("x", Constant("int8_t", values))
    assert text.startswith("static const _Alignas(4) int8_t x[45] = {")
    assert [int(part) for part in text.split("{")[1].split("}")[0].split(",")] == values.ravel().tolist()
