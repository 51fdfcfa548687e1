"""The metrics page, read back with the official client's own parser."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.api import metrics
from sidecar.api.metrics import Metric

TRICKY = ["", "plain", 'quote"', "back\\slash", "new\nline", "\\n", '\\"', "a,b={}", "é…", "tail\\", "x\r\ty", "{le=1}"]


def parsed(*given: Metric) -> list[object]:
    return list(text_string_to_metric_families(metrics.text(given).decode()))


@pytest.mark.parametrize("value", TRICKY)
def test_a_label_comes_back_as_it_was_given(value: str) -> None:
    metric = Metric(name="x", kind="gauge", help="Some help.", samples=[({"a": value, "b": "2"}, 1.0)])
    (family,) = parsed(metric)
    (sample,) = family.samples  # type: ignore[attr-defined]
    assert sample.labels == {"a": value, "b": "2"}


@pytest.mark.parametrize(
    "value", [0.0, 1.0, -1.5, 0.1, 1e300, 123456789.123456, float("inf"), float("-inf"), float("nan")]
)
def test_a_value_comes_back_exactly(value: float) -> None:
    (family,) = parsed(Metric(name="x", kind="gauge", help="h", samples=[({}, value)]))
    (sample,) = family.samples  # type: ignore[attr-defined]
    assert sample.value == value or (math.isnan(value) and math.isnan(sample.value))


def test_every_metric_has_its_name_its_help_and_its_kind() -> None:
    found = parsed(
        Metric(name="open", kind="gauge", help="Is it open?", samples=[({}, 1.0)]),
        Metric(
            name="asked_total",
            kind="counter",
            help="How often.",
            samples=[({"answer": "deny"}, 2.0), ({"answer": "x"}, 0.0)],
        ),
        Metric(name="none", kind="gauge", help="Nothing yet.", samples=[]),
    )
    assert [(one.name, one.type, one.documentation) for one in found] == [  # type: ignore[attr-defined]
        ("entitlement_sidecar_open", "gauge", "Is it open?"),
        ("entitlement_sidecar_asked", "counter", "How often."),
        ("entitlement_sidecar_none", "gauge", "Nothing yet."),
    ]
    assert [(one.name, one.value) for one in found[1].samples] == [  # type: ignore[attr-defined]
        ("entitlement_sidecar_asked_total", 2.0),
        ("entitlement_sidecar_asked_total", 0.0),
    ]


def test_no_metric_is_an_empty_page() -> None:
    assert metrics.text([]) == b""
    assert metrics.CONTENT_TYPE.startswith("text/plain; version=0.0.4")
