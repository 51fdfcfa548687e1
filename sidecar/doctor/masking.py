"""Mask account numbers in what doctor shows: its output goes to the product's vendor with a support request."""

from __future__ import annotations

import re
from typing import Final

ARN: Final = re.compile(r"(arn:[a-z-]+:[a-z-]+:[a-z0-9-]*:)[0-9]{8}([0-9]{4}:)")
NUMBER: Final = re.compile(r"[0-9]{8}([0-9]{4})")


def masked(text: str) -> str:
    """Return the text with the account of every ARN masked up to its last four digits."""
    return ARN.sub(r"\g<1>********\g<2>", text)


def masked_account(account: str) -> str:
    """Return an account number with its last four digits alone; what is no account number is masked whole."""
    found = NUMBER.fullmatch(account)
    return f"********{found[1]}" if found else "************"
