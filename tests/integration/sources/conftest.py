"""A product that serves a page, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sources.support import Product, Pull, counter


@pytest.fixture
def product() -> Iterator[Product]:
    made = Product()
    yield made
    made.close()


@pytest.fixture
def pull(tmp_path: Path, product: Product) -> Iterator[Pull]:
    """Reads the product's `requests_total`."""
    made = Pull(tmp_path, [counter(product.url)])
    yield made
    made.ledger.close()
