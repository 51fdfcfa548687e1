"""Authorities are rotated so that no API server ever meets a certificate that it does not trust."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.injector import authority
from sidecar.injector.authority import Authority, Times

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = Times(rotate=timedelta(seconds=12), settle=timedelta(seconds=4))


LATE = b'[{"certificate": "c", "key": "k", "made_at": "0001-01-01T00:00:00+23:00", "until": "2026-01-01T00:00:00"}]'


def make(now: datetime, until: datetime) -> Authority:
    assert until > now
    return Authority(certificate=f"<{now:%M:%S}>", key="k", made_at=now, until=until)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ages(published: tuple[Authority, ...]) -> list[float]:
    return [(one.made_at - START).total_seconds() for one in published]


def test_the_first_signs_at_once() -> None:
    published = authority.renewed((), at(0), TIMES, make)
    assert ages(published) == [0]
    assert authority.signing(published, at(0), TIMES) == published[0]


def test_a_new_one_is_published_first_and_signs_later() -> None:
    first = authority.renewed((), at(0), TIMES, make)
    assert authority.renewed(first, at(11), TIMES, make) == first
    both = authority.renewed(first, at(12), TIMES, make)
    assert ages(both) == [0, 12]
    assert authority.signing(both, at(15), TIMES).made_at == at(0)
    assert authority.signing(both, at(16), TIMES).made_at == at(12)
    assert ages(authority.renewed(both, at(19), TIMES, make)) == [0, 12]
    assert ages(authority.renewed(both, at(20), TIMES, make)) == [12]


def test_after_a_long_stop_a_new_one_signs_at_once() -> None:
    first = authority.renewed((), at(0), TIMES, make)
    later = TIMES.life.total_seconds()
    assert ages(authority.renewed(first, at(later - 1), TIMES, make)) == [0, later - 1]
    published = authority.renewed(first, at(later), TIMES, make)
    assert ages(published) == [later]
    assert authority.signing(published, at(later), TIMES) == published[0]


def test_one_from_the_future_counts_as_none_beyond_what_clocks_differ() -> None:
    good = authority.renewed((), at(0), TIMES, make)
    ahead = good
    for seconds in (0, 9):  # an injector whose clock is a day ahead takes the good one off
        ahead = authority.renewed(ahead, at(seconds) + timedelta(days=1), TIMES, make)
    assert ages(authority.renewed(ahead, at(10), TIMES, make)) == [10]
    assert authority.renewed(good + ahead, at(10), TIMES, make) == good
    near = (make(at(1800), at(9000)),)
    assert authority.renewed(near, at(10), TIMES, make) == near


def test_one_is_replaced_before_it_ends_when_times_were_made_longer() -> None:
    first = authority.renewed((), at(0), TIMES, make)
    longer = Times(rotate=timedelta(days=365), settle=TIMES.settle)
    end = TIMES.life.total_seconds() - 3 * 4
    assert authority.renewed(first, at(end - 1), longer, make) == first
    both = authority.renewed(first, at(end), longer, make)
    assert ages(both) == [0, end]
    assert ages(authority.renewed(both, at(end + 8), longer, make)) == [end]
    assert first[0].until > at(end + 8)


@pytest.mark.parametrize("late", [0, 1, 3])
def test_who_hears_late_is_trusted_all_the_same(late: int) -> None:
    """Injectors and API servers both act on a list that is so many seconds old, less than a change settles."""
    published = authority.renewed((), at(0), TIMES, make)
    history = {-second: published for second in range(5)}
    rotations = set()
    for second in range(200):
        published = history[second] = authority.renewed(published, at(second), TIMES, make)
        rotations.add(published[-1])
        for heard_by_injector in range(late + 1):
            seen = second - heard_by_injector
            signer = authority.signing(history[seen], at(seen), TIMES)
            for heard_by_api_server in range(late + 1):
                assert signer.certificate in authority.bundle(history[second - heard_by_api_server]), second
    assert len(rotations) > 10


def test_what_is_kept_is_read_back_and_anything_else_counts_as_nothing() -> None:
    published = authority.renewed((), at(0), TIMES, make)
    assert authority.read(authority.written(published)) == published
    for text in (b"", b"{}", b"[1]", b'[{"certificate": ""}]', b"\xff", LATE):
        assert authority.read(text) == ()


def test_times_without_a_zone_are_of_utc() -> None:
    text = b'[{"certificate": "c", "key": "k", "made_at": "2026-01-01T00:00:00", "until": "2026-01-02T00:00:00"}]'
    (one,) = authority.renewed(authority.read(text), at(0), TIMES, make)
    assert one.certificate == "c"


def test_an_authority_does_not_print_its_key() -> None:
    assert "secret" not in repr(Authority(certificate="c", key="secret", made_at=at(0), until=at(9)))
