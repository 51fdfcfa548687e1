"""A date is what the standard library writes."""

from __future__ import annotations

import random
from email.utils import formatdate

from sidecar.server.http_date import http_date


def test_a_date_is_the_standard_librarys() -> None:
    chance = random.Random(1)
    for second in [0, 951782400, 2**31, *(chance.randrange(2**32) for _ in range(500))]:
        assert http_date(second) == formatdate(second, usegmt=True)
