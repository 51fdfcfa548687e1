"""An hour owes what was used, to the last digit, whatever the cuts."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.metering.events import Tags
from sidecar.metering.quantities import DECIMAL_MAX, INTEGER_MAX, Micros, maximum
from sidecar.metering.rollup import ALLOCATIONS_MAX, Allocation, Bucket, Owed, fewer, makes_a_record, roll_up
from sidecar.settings.dimensions import Aggregation, Dimension, Scope

EVENT_MAX = 9_999_999_999_999_999
ZERO = Decimal(0)
A: Tags = (("tenant", "a"),)
B: Tags = (("tenant", "b"),)
REQUESTS = Dimension(name="requests")
TAGGED = Dimension(name="requests", tags=("tenant",))
SINGLE = {kind: Dimension(name="x", aggregation=kind, scope=Scope.POD) for kind in Aggregation}


def tenant(at: int) -> Tags:
    return (("tenant", f"t{at:05d}"),)


def units(amount: float) -> Micros:
    return Micros(int(amount * 10**6))


def test_a_sum_of_whole_units_is_owed_whole() -> None:
    owed = roll_up(REQUESTS, [Bucket(sum=units(7))], ZERO, [])
    assert owed == Owed(quantity=Decimal(7), allocations=(), carry=ZERO, merged=0)


def test_what_is_below_the_precision_is_carried_and_billed_once_it_adds_up() -> None:
    first = roll_up(REQUESTS, [Bucket(sum=units(7.6))], ZERO, [])
    assert (first.quantity, first.carry) == (7, Decimal("0.6"))
    second = roll_up(REQUESTS, [Bucket(sum=units(0.5))], first.carry, [])
    assert (second.quantity, second.carry) == (1, Decimal("0.1"))


def test_the_scale_multiplies_the_aggregate_once() -> None:
    dimension = Dimension(name="gb", scale=Decimal("0.001"), decimals=2)
    owed = roll_up(dimension, [Bucket(sum=units(1234.567))], ZERO, [])
    assert (owed.quantity, owed.carry) == (Decimal("1.23"), Decimal("0.004567"))


def test_what_is_carried_and_rolled_forward_is_added_after_the_scale() -> None:
    dimension = Dimension(name="gb", scale=Decimal(10))
    owed = roll_up(dimension, [Bucket(sum=units(2))], Decimal("0.5"), [((), Decimal("3.25"))])
    assert (owed.quantity, owed.carry) == (23, Decimal("0.75"))


@pytest.mark.parametrize(
    ("kind", "quantity"), [(Aggregation.MAX, 9), (Aggregation.LAST, 4), (Aggregation.UNIQUE, 3), (Aggregation.SUM, 20)]
)
def test_each_aggregation_takes_its_own_value_and_adds_what_was_rolled(kind: Aggregation, quantity: int) -> None:
    bucket = Bucket(sum=units(20), max=units(9), last=units(4), unique=3)
    assert roll_up(SINGLE[kind], [bucket], ZERO, []).quantity == quantity
    assert roll_up(SINGLE[kind], [bucket], ZERO, [((), Decimal(5))]).quantity == quantity + 5


@pytest.mark.parametrize("kind", Aggregation)
def test_an_hour_without_events_owes_nothing(kind: Aggregation) -> None:
    owed = roll_up(SINGLE[kind], [], ZERO, [])
    assert (owed.quantity, owed.carry) == (0, 0)


def test_nothing_is_reported_only_where_that_was_asked_for() -> None:
    nothing = roll_up(REQUESTS, [], Decimal("0.5"), [])
    assert not makes_a_record(REQUESTS, nothing)
    assert makes_a_record(Dimension(name="a", report_zero=True), nothing)
    assert makes_a_record(REQUESTS, roll_up(REQUESTS, [Bucket(sum=units(1))], ZERO, []))


@pytest.mark.parametrize(("decimals", "most"), [(0, INTEGER_MAX), (6, DECIMAL_MAX), (1, Decimal("9999999999.9"))])
def test_what_is_above_awss_maximum_is_carried(decimals: int, most: Decimal) -> None:
    dimension = Dimension(name="a", decimals=decimals)
    owed = roll_up(dimension, [Bucket(sum=EVENT_MAX * 3)], ZERO, [])
    assert owed.quantity == most
    assert owed.carry == 3 * DECIMAL_MAX - most
    assert roll_up(dimension, [], most, []).carry == 0


def test_allocations_have_one_share_for_each_tag_set_and_add_up() -> None:
    owed = roll_up(TAGGED, [Bucket(tags=A, sum=units(2)), Bucket(tags=B, sum=units(3)), Bucket(sum=units(1))], ZERO, [])
    assert owed.quantity == 6
    assert owed.allocations == (
        Allocation(tags=(), quantity=Decimal(1)),
        Allocation(tags=A, quantity=Decimal(2)),
        Allocation(tags=B, quantity=Decimal(3)),
    )


def test_what_the_cuts_lose_goes_to_the_untagged_share() -> None:
    owed = roll_up(TAGGED, [Bucket(tags=A, sum=units(1.6)), Bucket(tags=B, sum=units(1.6))], ZERO, [])
    assert owed.quantity == 3
    assert [one.quantity for one in owed.allocations] == [1, 1, 1]
    assert owed.allocations[0].tags == ()
    assert owed.carry == Decimal("0.2")


def test_a_tag_set_that_comes_to_nothing_has_no_share() -> None:
    owed = roll_up(TAGGED, [Bucket(tags=A, sum=units(0.9)), Bucket(tags=B, sum=units(2))], ZERO, [])
    assert [one.tags for one in owed.allocations] == [B]


def test_the_untagged_share_alone_is_no_split() -> None:
    assert roll_up(TAGGED, [Bucket(sum=units(2))], ZERO, []).allocations == ()
    assert roll_up(TAGGED, [Bucket(tags=A, sum=units(0.5)), Bucket(tags=B, sum=units(0.5))], ZERO, []).allocations == ()
    assert roll_up(TAGGED, [], ZERO, []).allocations == ()


def test_a_dimension_without_tags_is_never_split() -> None:
    assert roll_up(REQUESTS, [Bucket(tags=A, sum=units(2)), Bucket(sum=units(1))], ZERO, []).allocations == ()


def test_what_is_rolled_forward_keeps_its_tags() -> None:
    owed = roll_up(TAGGED, [Bucket(tags=A, sum=units(1))], ZERO, [(A, Decimal(2)), (B, Decimal(4))])
    assert owed.allocations == (Allocation(tags=A, quantity=Decimal(3)), Allocation(tags=B, quantity=Decimal(4)))


def test_allocations_above_awss_maximum_are_cut_too_and_still_add_up() -> None:
    buckets = [Bucket(tags=A, sum=units(2_000_000_000)), Bucket(tags=B, sum=units(1_000_000_000))]
    owed = roll_up(TAGGED, buckets, ZERO, [])
    assert owed.quantity == INTEGER_MAX == sum(one.quantity for one in owed.allocations)
    assert owed.allocations[0] == Allocation(tags=A, quantity=Decimal(2_000_000_000))
    assert owed.carry == 3_000_000_000 - INTEGER_MAX


def test_as_many_allocations_as_aws_takes_are_all_sent() -> None:
    buckets = [Bucket(tags=tenant(at), sum=units(1)) for at in range(ALLOCATIONS_MAX)]
    owed = roll_up(TAGGED, buckets, ZERO, [])
    assert (len(owed.allocations), owed.merged) == (ALLOCATIONS_MAX, 0)


@pytest.mark.parametrize(
    ("tagged", "untagged", "merged"),
    [(ALLOCATIONS_MAX + 1, 0, 2), (ALLOCATIONS_MAX, 1, 1), (ALLOCATIONS_MAX + 9, 1, 10)],
)
def test_the_smallest_tag_sets_beyond_that_are_merged_and_counted(tagged: int, untagged: int, merged: int) -> None:
    buckets = [Bucket(tags=tenant(at), sum=units(at + 1)) for at in range(tagged)]
    owed = roll_up(TAGGED, [*buckets, Bucket(sum=units(untagged))], ZERO, [])
    assert (len(owed.allocations), owed.merged) == (ALLOCATIONS_MAX, merged)
    assert sum(one.quantity for one in owed.allocations) == owed.quantity
    kept = {one.tags for one in owed.allocations}
    assert all((tenant(at) in kept) == (at >= merged) for at in range(tagged))
    assert owed.allocations[0] == Allocation(tags=(), quantity=Decimal(untagged + merged * (merged + 1) // 2))


TAG_SETS = st.sampled_from([(), A, B, tenant(1), tenant(2)])
AMOUNTS = st.decimals(0, 10**10, places=12)
BUCKETS = st.dictionaries(TAG_SETS, st.integers(0, 3 * EVENT_MAX), max_size=5)
ROLLED = st.lists(st.tuples(TAG_SETS, AMOUNTS), max_size=4)
DIMENSIONS = st.builds(
    lambda micros, decimals, tags: Dimension(
        name="a", scale=Decimal(micros).scaleb(-6), decimals=decimals, tags=("tenant",) if tags else ()
    ),
    st.integers(1, 10**9),
    st.integers(0, 6),
    st.booleans(),
)


def exact(*amounts: Decimal) -> Fraction:
    """Arithmetic of another kind than the one under test."""
    return sum((Fraction(one) for one in amounts), Fraction(0))


@given(DIMENSIONS, BUCKETS, AMOUNTS, ROLLED)
def test_quantity_and_carry_are_always_the_whole(
    dimension: Dimension, sums: dict[Tags, int], carried: Decimal, rolled: list[tuple[Tags, Decimal]]
) -> None:
    owed = roll_up(dimension, [Bucket(tags=tags, sum=one) for tags, one in sums.items()], carried, rolled)
    whole = Fraction(sum(sums.values()), 10**6) * Fraction(dimension.scale) + exact(
        carried, *(one for _, one in rolled)
    )
    assert exact(owed.quantity, owed.carry) == whole
    assert owed.carry >= 0
    assert 0 <= owed.quantity <= maximum(dimension.decimals)
    assert owed.quantity == round(owed.quantity, dimension.decimals)
    assert owed.carry < Decimal(1).scaleb(-dimension.decimals) or owed.quantity == maximum(dimension.decimals)


@given(DIMENSIONS, BUCKETS, AMOUNTS, ROLLED)
def test_allocations_always_add_up_and_none_is_empty_or_twice(
    dimension: Dimension, sums: dict[Tags, int], carried: Decimal, rolled: list[tuple[Tags, Decimal]]
) -> None:
    owed = roll_up(dimension, [Bucket(tags=tags, sum=one) for tags, one in sums.items()], carried, rolled)
    if owed.allocations:
        assert exact(*(one.quantity for one in owed.allocations)) == exact(owed.quantity)
        assert all(one.quantity > 0 for one in owed.allocations)
        tags = [one.tags for one in owed.allocations]
        assert tags == sorted(set(tags))
        assert any(tags)


@given(DIMENSIONS, BUCKETS, ROLLED, st.randoms())
def test_the_order_of_what_came_in_changes_nothing(
    dimension: Dimension, sums: dict[Tags, int], rolled: list[tuple[Tags, Decimal]], random: object
) -> None:
    buckets = [Bucket(tags=tags, sum=one) for tags, one in sums.items()]
    shuffled = list(buckets)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert roll_up(dimension, buckets, ZERO, rolled) == roll_up(dimension, shuffled, ZERO, rolled[::-1])


@settings(max_examples=60)
@given(DIMENSIONS, st.lists(st.tuples(BUCKETS, ROLLED), max_size=8))
def test_over_many_hours_nothing_is_lost_and_nothing_is_made(
    dimension: Dimension, hours: list[tuple[dict[Tags, int], list[tuple[Tags, Decimal]]]]
) -> None:
    carried, billed, accepted = ZERO, Fraction(0), Fraction(0)
    for sums, rolled in hours:
        owed = roll_up(dimension, [Bucket(tags=tags, sum=one) for tags, one in sums.items()], carried, rolled)
        carried, billed = owed.carry, billed + Fraction(owed.quantity)
        accepted += Fraction(sum(sums.values()), 10**6) * Fraction(dimension.scale) + exact(*(one for _, one in rolled))
        assert billed + Fraction(carried) == accepted


@given(st.lists(st.integers(0, EVENT_MAX), min_size=1, max_size=6), st.randoms())
def test_a_largest_value_does_not_depend_on_order(values: list[int], random: object) -> None:
    buckets = [Bucket(max=Micros(one)) for one in values]
    random.shuffle(buckets)  # type: ignore[attr-defined]
    dimension = Dimension(name="a", aggregation=Aggregation.MAX, scope=Scope.POD, decimals=6)
    assert roll_up(dimension, buckets, ZERO, []).quantity == Decimal(max(values)).scaleb(-6)


SPLITS = st.dictionaries(st.text("ab", max_size=4), st.decimals("0.000001", "99", places=6), min_size=1, max_size=20)


@given(SPLITS, st.integers(1, 12))
def test_a_merged_split_keeps_the_sum_and_the_largest(amounts: dict[str, Decimal], most: int) -> None:
    split = [Allocation(tags=(("t", name),) if name else (), quantity=amount) for name, amount in amounts.items()]
    merged = fewer(split, most)
    assert len(merged) <= most
    assert sum(one.quantity for one in merged) == sum(amounts.values())
    assert len({one.tags for one in merged}) == len(merged)
    kept = [one.quantity for one in merged if one.tags]
    lost = [one.quantity for one in split if one.tags and one not in merged]
    assert not kept or not lost or min(kept) >= max(lost)
    assert fewer(merged, most) == merged
