"""Quantities are exact: read, added and cut without a float."""

from __future__ import annotations

from decimal import Decimal, Inexact

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.quantities import (
    DECIMAL_MAX,
    INTEGER_MAX,
    QuantityOutOfRange,
    exact_product,
    exact_sum,
    exact_sums,
    floor_to,
    maximum,
    micros_to_decimal,
    parse_micros,
    plain,
)
from sidecar.strict_json import JsonNumber

EVENT_MAX = 9_999_999_999_999_999
"""Micros of 9999999999.999999, far above what AWS takes for an hour."""
MICROS = st.integers(0, EVENT_MAX)
AMOUNTS = st.decimals(0, 10**15, places=12, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("0", 0),
        ("7", 7_000_000),
        ("007", 7_000_000),
        ("0.1", 100_000),
        ("0.000001", 1),
        ("0.1000000000", 100_000),
        ("9999999999.999999", 9_999_999_999_999_999),
    ],
)
def test_plain_digits_are_read_exactly_as_text_and_as_a_number(written: str, micros: int) -> None:
    assert parse_micros(written) == micros
    assert parse_micros(JsonNumber(written)) == micros


@pytest.mark.parametrize(("written", "micros"), [("1e3", 10**9), ("1.5E-3", 1500), ("-0", 0), ("-0.0", 0), ("0e99", 0)])
def test_a_json_number_may_be_written_as_json_allows(written: str, micros: int) -> None:
    assert parse_micros(JsonNumber(written)) == micros


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "-1", "1e3", ".5", "1.", "1,5", "0x10", "NaN", "Infinity", "1_000", "١", "1\n"]
)
def test_text_that_is_not_plain_decimal_digits_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_micros(text)
    assert not isinstance(caught.value, QuantityOutOfRange)


@pytest.mark.parametrize("value", [True, False, None, 1.5, [], {}, JsonNumber("nan")])
def test_what_is_no_number_is_no_quantity(value: object) -> None:
    with pytest.raises(ValueError):
        parse_micros(value)


@pytest.mark.parametrize(
    "written",
    [
        "-1",
        "-0.000001",
        "0.0000001",
        "9999999999.9999991",
        "10000000000",
        "1e10",
        "1e-7",
        "1e999999999",
        "1e-999999999",
        "1e999999999999999999",
        "1e-999999999999999999",
        "1e-1553255926290448382",
        "1e99999999999999999999",
        "9" * 100_000,
        "0." + "0" * 100 + "1",
    ],
)
def test_a_number_no_event_can_carry_is_out_of_range(written: str) -> None:
    with pytest.raises(QuantityOutOfRange):
        parse_micros(JsonNumber(written))


def test_an_int_is_read_and_a_bool_is_not() -> None:
    assert parse_micros(3) == 3_000_000
    with pytest.raises(ValueError):
        parse_micros(True)


@given(MICROS)
def test_micros_survive_being_written(micros: int) -> None:
    assert parse_micros(plain(micros_to_decimal(micros))) == micros


@pytest.mark.parametrize(
    ("amount", "words"),
    [("1E+3", "1000"), ("0.500", "0.5"), ("-0", "0"), ("0E-12", "0"), ("10", "10"), ("1E-12", "0.000000000001")],
)
def test_plain_notation_has_no_exponent_and_no_zeros_at_the_end(amount: str, words: str) -> None:
    assert plain(Decimal(amount)) == words


@given(AMOUNTS)
def test_plain_notation_keeps_the_value(amount: Decimal) -> None:
    assert Decimal(plain(amount)) == amount
    assert "E" not in plain(amount)


@given(AMOUNTS, st.integers(0, 6))
def test_a_cut_takes_less_than_one_unit_of_the_last_place_and_never_adds(amount: Decimal, decimals: int) -> None:
    cut = floor_to(amount, decimals)
    assert 0 <= amount - cut < Decimal(1).scaleb(-decimals)
    assert cut == round(cut, decimals)


def test_arithmetic_that_cannot_be_exact_is_refused_not_rounded() -> None:
    with pytest.raises(Inexact):
        exact_product(Decimal("1." + "1" * 40), Decimal("1." + "1" * 40))
    with pytest.raises(Inexact):
        exact_sum([Decimal("1e50"), Decimal("1e-12")])


def test_tenths_add_up() -> None:
    assert exact_sum([Decimal("0.1")] * 10) == 1


def test_the_largest_of_everything_fits() -> None:
    scale = Decimal("999999999.999999")
    a_million_events = exact_product(micros_to_decimal(EVENT_MAX * 10**6), scale)
    assert exact_sum([a_million_events] * 2) == exact_product(exact_product(DECIMAL_MAX, scale), Decimal(2 * 10**6))


def test_no_digit_is_lost_in_plain_notation() -> None:
    assert plain(Decimal("9" * 40 + "." + "9" * 12)) == "9" * 40 + "." + "9" * 12


def test_a_record_carries_what_its_field_can() -> None:
    assert maximum(0) == INTEGER_MAX
    assert maximum(2) == Decimal("9999999999.99")
    assert maximum(6) == DECIMAL_MAX
    assert all(len(str(maximum(decimals))) <= 17 for decimals in range(7))


def test_amounts_are_added_up_by_name_to_the_last_digit() -> None:
    tiny = Decimal("0.000000000001")
    found = exact_sums([("a", Decimal(10**20)), ("b", Decimal(2)), ("a", tiny)])
    assert found == {"a": Decimal("100000000000000000000.000000000001"), "b": Decimal(2)}
