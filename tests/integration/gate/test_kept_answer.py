"""What AWS said before a restart opens the gate of the same workload, where AWS cannot be reached."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.emulator.keys import SigningKeys
from sidecar.gate.messages import CheckResult, KeptStatus
from sidecar.ledger import kept_file as answer_file
from sidecar.quick_dataclasses import replace
from sidecar.settings import PublicKey

from .support import KEYS, Rig, Shifted, dead_url, read
from .support import Answer as Said


def kept_file(rig: Rig, workload: str = "pod-1") -> Path:
    return answer_file.answer_path(rig.state_dir, workload)


@pytest.fixture
def kept(rig: Rig) -> Rig:
    """A workload that AWS let run before."""
    asked = rig.ask(rig.aws().url)
    assert asked.keep is not None
    assert asked.keep() == KeptStatus(kept=True)
    return rig


def restarted(rig: Rig, env: dict[str, str] | None = None, **changed: Any) -> CheckResult:
    """The same state directory, with AWS unreachable."""
    return rig.ask(dead_url(), {**KEYS, **(env or {})}, **changed).result


def test_a_kept_answer_opens_the_gate_of_the_same_workload(kept: Rig) -> None:
    result = restarted(kept)
    assert (result.answer, result.reason, result.from_kept_answer) == ("accepted", "kept_answer", True)
    assert "aws_unreachable" in result.hint
    assert result.code == "EndpointConnectionError"
    assert result.public_key_version == 1
    assert result.kept_refused == ""


def test_it_does_so_at_any_age(kept: Rig) -> None:
    assert restarted(kept, clock=Shifted(365 * 86_400)).from_kept_answer


def test_it_is_not_kept_again_and_stays_as_it_is(kept: Rig) -> None:
    before = kept_file(kept).read_text()
    asked = kept.ask(dead_url())
    assert asked.keep is None
    assert kept_file(kept).read_text() == before


def test_a_fresh_answer_takes_its_place(kept: Rig) -> None:
    before = kept_file(kept).read_text()
    asked = kept.ask(kept.aws().url)
    assert asked.keep is not None
    assert asked.keep().kept
    assert kept_file(kept).read_text() != before
    assert len(list(kept.state_dir.iterdir())) == 1


def test_without_a_kept_answer_the_gate_stays_shut(rig: Rig) -> None:
    result = restarted(rig)
    assert (result.answer, result.from_kept_answer, result.kept_refused) == ("retry", False, "")


def test_a_workload_of_another_name_does_not_even_find_it(kept: Rig) -> None:
    result = restarted(kept, {"POD_UID": "pod-2"})
    assert (result.answer, result.from_kept_answer, result.kept_refused) == ("retry", False, "")


def test_a_copy_under_another_workloads_name_opens_nothing(kept: Rig) -> None:
    kept_file(kept, "pod-2").write_bytes(kept_file(kept).read_bytes())
    result = restarted(kept, {"POD_UID": "pod-2"})
    assert (result.answer, result.from_kept_answer, result.kept_refused) == ("retry", False, "kept_other_workload")


def changed_key(rig: Rig) -> dict[str, Any]:
    return {"public_keys": (PublicKey(version=1, pem=SigningKeys((1,)).public_pem(1)),)}


CHANGED: Final[dict[str, tuple[Callable[[Rig], dict[str, Any]], str]]] = {
    "another product": (lambda _: {"product_code": "prod2"}, "kept_other_product"),
    "another key version": (lambda rig: {"public_keys": rig.public_keys(2)}, "kept_other_key_version"),
    "another key of that version": (changed_key, "token_signature"),
    "the key of another version": (
        lambda rig: {"public_keys": (replace(rig.public_keys(2)[0], version=1),)},
        "token_signature",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_after_a_change_of_settings_it_opens_nothing_and_says_why(case: str, kept: Rig) -> None:
    change, reason = CHANGED[case]
    result = restarted(kept, **change(kept))
    assert (result.answer, result.reason, result.from_kept_answer) == ("retry", "aws_unreachable", False)
    assert result.kept_refused == reason


def test_a_key_version_added_in_front_leaves_it_good(kept: Rig) -> None:
    assert restarted(kept, public_keys=kept.public_keys(3, 1)).from_kept_answer


def edited(**changed: object) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changed})


BROKEN: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "empty": (lambda _: "", "kept_unreadable"),
    "truncated": (lambda text: text[: len(text) // 2], "kept_unreadable"),
    "garbage": (lambda _: "\0\1\2 garbage", "kept_unreadable"),
    "too long": (lambda text: " " * answer_file.BYTES_MAX + text, "kept_unreadable"),
    "a list": (lambda text: f"[{text}]", "kept_unreadable"),
    "a field more": (edited(more=1), "kept_unreadable"),
    "of another format": (edited(format=2), "kept_unreadable"),
    "without a token": (edited(token=""), "signature_missing"),
    "with a token that is none": (edited(token="a.b.c"), "token_malformed"),
    "with another nonce": (edited(nonce="x.y"), "kept_other_workload"),
    "with another product": (edited(product_code="prod2"), "kept_other_product"),
    "with another version": (edited(public_key_version=7), "kept_other_key_version"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_kept_answer_opens_nothing_and_says_why(case: str, kept: Rig) -> None:
    change, reason = BROKEN[case]
    kept_file(kept).write_text(change(kept_file(kept).read_text()))
    result = restarted(kept)
    assert (result.answer, result.from_kept_answer, result.kept_refused) == ("retry", False, reason)


def test_a_kept_answer_that_cannot_be_read_is_said_to_be_so(kept: Rig) -> None:
    kept_file(kept).unlink()
    kept_file(kept).mkdir()
    result = restarted(kept)
    assert (result.answer, result.from_kept_answer) == ("retry", False)
    assert result.kept_refused == "kept_unreadable"


def test_half_a_character_in_a_kept_answer_ends_no_child(kept: Rig) -> None:
    """Such a file would make every question to an unreachable AWS a crash."""
    kept_file(kept).write_text(edited(nonce="AAAA.\ud800")(kept_file(kept).read_text()))
    assert restarted(kept).kept_refused


# -- when it is looked at ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "CustomerNotEntitledException",
        "InvalidProductCodeException",
        "InvalidPublicKeyVersionException",
        "PlatformNotSupportedException",
        "AccessDeniedException",
        "DisabledApiException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "BrandNewException",
    ],
)
def test_it_is_not_looked_at_where_aws_gave_another_answer(code: str, kept: Rig) -> None:
    aws = kept.aws()
    aws.fault("RegisterUsage", code, times=None)
    result = kept.ask(aws.url).result
    assert result.answer in ("deny", "config")
    assert (result.from_kept_answer, result.kept_refused) == (False, "")


def test_it_is_not_looked_at_where_the_clock_is_wrong(kept: Rig) -> None:
    aws = kept.aws()
    aws.fault("RegisterUsage", "InvalidSignatureException", message="Signature expired: x is now earlier than y")
    result = kept.ask(aws.url).result
    assert (result.reason, result.from_kept_answer) == ("clock_skew", False)


@pytest.mark.parametrize("forgery", ["wrong_nonce", "wrong_key", "missing_signature", "alg_none"])
def test_it_is_not_looked_at_where_an_answer_did_not_verify(forgery: str, kept: Rig) -> None:
    aws = kept.aws()
    aws.fault("RegisterUsage", forgery, times=None)
    result = kept.ask(aws.url).result
    assert (result.answer, result.from_kept_answer) == ("deny", False)


@pytest.mark.parametrize(
    "env", [{"AWS_ACCESS_KEY_ID": ""}, {"AWS_SESSION_TOKEN": "a\nb"}, {"AWS_CA_BUNDLE": "/nowhere"}]
)
def test_it_is_not_looked_at_where_nobody_was_asked_for_a_mistake_here(env: dict[str, str], kept: Rig) -> None:
    result = kept.ask(dead_url(), {**KEYS, **env}).result
    assert (result.answer, result.from_kept_answer) == ("config", False)


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServiceErrorException", "ServiceUnavailable"])
def test_it_opens_where_aws_is_too_busy_or_broken_to_answer(code: str, kept: Rig) -> None:
    aws = kept.aws()
    aws.fault("RegisterUsage", code, times=None)
    assert kept.ask(aws.url).result.from_kept_answer


def test_it_opens_behind_a_broken_proxy_or_broken_tls(kept: Rig) -> None:
    assert restarted(kept, {"HTTP_PROXY": "http://127.0.0.1:9"}).from_kept_answer
    assert kept.ask(kept.web(Said(), tls=True).url).result.from_kept_answer


def test_it_opens_where_sts_cannot_be_reached(kept: Rig) -> None:
    assert kept.ask(dead_url(), kept.irsa).result.from_kept_answer


# -- how it is kept ----------------------------------------------------------------------------------


def test_a_workload_without_a_name_keeps_nothing_and_finds_nothing(rig: Rig) -> None:
    asked = rig.ask(rig.aws().url, {**KEYS, "POD_UID": ""})
    assert (asked.result.answer, asked.identity.workload_kind) == ("accepted", "nameless")
    assert asked.keep is None
    kept_file(rig, asked.identity.workload).write_text("would be refused, if it were read")
    again = rig.ask(dead_url(), {**KEYS, "POD_UID": ""})
    assert again.identity == asked.identity
    result = again.result
    assert (result.answer, result.from_kept_answer, result.kept_refused) == ("retry", False, "")


def test_a_workload_named_by_its_operator_keeps_its_answer(rig: Rig) -> None:
    asked = rig.ask(rig.aws().url, {**KEYS, "POD_UID": ""}, workload_id="ours")
    assert asked.keep is not None
    assert asked.keep().kept
    assert restarted(rig, {"POD_UID": ""}, workload_id="ours").from_kept_answer


def test_only_its_owner_may_read_it_whatever_the_umask(rig: Rig) -> None:
    before = os.umask(0)
    try:
        asked = rig.ask(rig.aws().url)
        assert asked.keep is not None
        asked.keep()
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept_file(rig).stat().st_mode) == 0o600
    assert list(rig.state_dir.iterdir()) == [kept_file(rig)]


def test_its_name_does_not_tell_the_workloads(kept: Rig) -> None:
    assert "pod-1" not in kept_file(kept).name


@pytest.mark.parametrize("case", ["missing", "a file"])
def test_a_read_only_state_directory_keeps_no_answer_and_opens_the_gate(case: str, rig: Rig) -> None:
    place = rig.tmp / "elsewhere"
    if case == "a file":
        place.write_text("in the way")
    asked = rig.ask(rig.aws().url, state_dir=str(place))
    assert asked.result.answer == "accepted"
    assert asked.keep is not None
    keeping = asked.keep()
    assert not keeping.kept
    assert str(place) in keeping.fault


def test_a_full_disk_leaves_the_answer_of_before(kept: Rig) -> None:
    """What lies in the way of the new file stands in for a disk that takes no more."""
    before = kept_file(kept).read_text()
    asked = kept.ask(kept.aws().url)
    beside = kept_file(kept).with_name(f"{kept_file(kept).name}.new")
    beside.mkdir()
    assert asked.keep is not None
    assert not asked.keep().kept
    assert kept_file(kept).read_text() == before


def test_a_link_in_the_way_of_the_new_file_is_not_followed(kept: Rig) -> None:
    victim = kept.tmp / "victim"
    victim.write_text("untouched")
    asked = kept.ask(kept.aws().url)
    kept_file(kept).with_name(f"{kept_file(kept).name}.new").symlink_to(victim)
    assert asked.keep is not None
    asked.keep()
    assert victim.read_text() == "untouched"


def test_real_children_keep_and_reopen(rig: Rig) -> None:
    first = rig.spawn(rig.aws().url)
    try:
        assert read(first).reason == "registered"
        line = first.read_line(_in(10))
        assert line is not None
        assert KeptStatus.from_json(line).kept
    finally:
        first.close()
    second = rig.spawn(dead_url())
    try:
        result = read(second)
    finally:
        second.close()
    assert (result.reason, result.from_kept_answer) == ("kept_answer", True)


def _in(seconds: float) -> float:
    import time

    return time.monotonic() + seconds


def test_a_pod_cannot_take_the_kept_answer_of_another_by_its_name(kept: Rig) -> None:
    """Its own token says which pod it is, whatever POD_UID and SIDECAR_WORKLOAD_ID say."""
    claims = base64.urlsafe_b64encode(json.dumps({"kubernetes.io": {"pod": {"uid": "pod-2"}}}).encode()).decode()
    kept.token_file.write_text(f"e30.{claims.rstrip('=')}.e30")
    for env, name in (({}, None), ({"POD_UID": ""}, "pod-1")):
        result = kept.ask(dead_url(), {**kept.irsa, **env}, workload_id=name).result
        assert (result.answer, result.reason, result.from_kept_answer) == ("config", "bad_settings", False)
        assert "pod-2" in result.settings_fault
    kept.token_file.write_text("of no pod")
    assert kept.ask(dead_url(), kept.irsa).result.from_kept_answer
