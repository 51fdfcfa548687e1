"""Write an instant as HTTP does.

Source: RFC 9110, section 5.6.7 (IMF-fixdate).
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def second() -> int:
    """Return the present second since 1970."""
    return int(time.time())


def now() -> str:
    """Return the present second."""
    return http_date(second())


@lru_cache(maxsize=1)
def http_date(second: int) -> str:
    """Return this second since 1970; thousands of responses share one."""
    at = time.gmtime(second)
    day = f"{DAYS[at.tm_wday]}, {at.tm_mday:02d} {MONTHS[at.tm_mon - 1]} {at.tm_year:04d}"
    return f"{day} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
