"""Every row of the error table, met over real HTTP through the real SDK.

What is expected of each code is written here by hand; a code that is in the table and not driven here
fails `test_every_code_of_the_table_is_driven`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from sidecar.child.process import ChildProcess
from sidecar.clock import SystemClock
from sidecar.emulator import Behaviour
from sidecar.emulator.behaviour import Algorithm, Body, Claims
from sidecar.emulator.keys import SigningKeys
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.aws_errors import LICENSE_ACCESS, LICENSES
from sidecar.entitlement.classify import TABLE
from sidecar.entitlement.error_table import ROWS
from sidecar.gate.loop import EntitlementLoop
from sidecar.gate.messages import CheckRequest, CheckResult
from sidecar.quick_dataclasses import dataclass
from sidecar.restart_state import RestartState
from sidecar.settings import PublicKey, Settings

from .sdk_exceptions import UNSEEN
from .support import BY_DRY_RUN, HTML, KEYS, PRODUCT, REGION, ROLE, Rig, Shifted, Web, black_hole, dead_url, read
from .support import Answer as Said

R, M, S, SDK, TOKEN = (
    AnsweredBy.REGISTER_USAGE,
    AnsweredBy.METER_USAGE,
    AnsweredBy.STS,
    AnsweredBy.SDK,
    AnsweredBy.TOKEN,
)
DENY, CONFIG, RETRY, LATER_CONFIG = (
    AnswerClass.DENY,
    AnswerClass.CONFIG,
    AnswerClass.RETRY,
    AnswerClass.RETRY_THEN_CONFIG,
)
EXPIRED: Final = "Signature expired: 20260301T110000Z is now earlier than 20260301T114500Z (20260301T120000Z - 15 min.)"

WIRE: Final[list[tuple[tuple[AnsweredBy, ...], AnswerClass, str, str]]] = [
    ((R, M), DENY, "customer_not_entitled", "CustomerNotEntitledException CustomerNotSubscribedException"),
    ((R, M), DENY, "platform_not_supported", "PlatformNotSupportedException"),
    ((R, M), DENY, "invalid_product_code", "InvalidProductCodeException"),
    ((R,), DENY, "invalid_public_key_version", "InvalidPublicKeyVersionException InvalidPublicKeyException"),
    ((R,), CONFIG, "invalid_region", "InvalidRegionException"),
    ((R, M), CONFIG, "api_disabled", "DisabledApiException"),
    ((R,), CONFIG, "access_denied", "AccessDeniedException"),
    (
        (M,),
        CONFIG,
        "access_denied",
        "UnauthorizedException AccessDeniedException AccessDenied UnauthorizedOperation",
    ),
    ((M,), CONFIG, "invalid_region", "InvalidEndpointRegionException"),
    ((M,), DENY, "invalid_usage_dimension", "InvalidUsageDimensionException"),
    (
        (M,),
        DENY,
        "request_malformed",
        "InvalidTagException InvalidUsageAllocationsException IdempotencyConflictException",
    ),
    ((M,), CONFIG, "clock_skew", "TimestampOutOfBoundsException"),
    ((M,), RETRY, "hour_already_metered", "DuplicateRequestException"),
    ((R, M), CONFIG, "credentials_expired", "ExpiredTokenException"),
    ((S,), CONFIG, "web_identity_token_expired", "ExpiredTokenException"),
    ((R, M, S), CONFIG, "credentials_unknown", "UnrecognizedClientException InvalidClientTokenId"),
    (
        (R, M, S),
        CONFIG,
        "request_unsigned",
        "MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature"
        " IncompleteSignatureException",
    ),
    ((R, M, S), CONFIG, "signature_mismatch", "InvalidSignatureException SignatureDoesNotMatch"),
    ((R, M, S), RETRY, "clock_skew", "InvalidSignatureException:clock SignatureDoesNotMatch:clock"),
    ((R, M, S), CONFIG, "clock_skew", "RequestTimeTooSkewed RequestExpired"),
    ((R, M, S), CONFIG, "account_refused", "OptInRequired AuthFailure NotAuthorized"),
    ((S,), CONFIG, "trust_policy_refused", "AccessDenied AccessDeniedException"),
    ((S,), CONFIG, "oidc_provider_missing", "InvalidIdentityToken"),
    ((S,), CONFIG, "web_identity_token_rejected", "IDPRejectedClaim"),
    ((S,), RETRY, "oidc_provider_unreachable", "IDPCommunicationError"),
    ((S,), CONFIG, "role_arn_malformed", "ValidationError"),
    ((S,), CONFIG, "sts_region_disabled", "RegionDisabledException"),
    ((S,), CONFIG, "session_policy_refused", "PackedPolicyTooLarge MalformedPolicyDocument"),
    ((R, M, S), DENY, "request_malformed", "ValidationException SerializationException UnknownOperationException"),
    (
        (R, M, S),
        RETRY,
        "throttled",
        "ThrottlingException Throttling TooManyRequestsException RequestLimitExceeded",
    ),
    (
        (R, M, S),
        RETRY,
        "aws_failing",
        "InternalServiceErrorException InternalFailure InternalError ServiceUnavailable ServiceUnavailableException"
        " RequestTimeout RequestTimeoutException",
    ),
]
"""Codes that AWS says in an error body."""

STATUS: Final[list[tuple[tuple[AnsweredBy, ...], AnswerClass, str, str]]] = [
    ((R, M, S), RETRY, "throttled", "429"),
    ((R, M, S), RETRY, "aws_failing", "408 500 502 503 504"),
    ((R, M, S), CONFIG, "answer_not_from_aws", "301 302 307 308 400 401 403 404 405 407 411 413"),
    ((M,), CONFIG, "answer_not_from_aws", "200"),
]
"""Codes that are an HTTP status with a web page below it: a gateway, a proxy."""

CANNOT_COME: Final = {
    ("MetadataRetrievalError", SDK): "the SDK hands it on as CredentialRetrievalError",
    ("PermissionError", SDK): "the tests may run as root, who may read everything",
    ("InvalidEndpointConfigurationError", SDK): "needs an ARN as a resource; RegisterUsage takes none",
    ("InvalidProxiesConfigError", SDK): "needs a proxies_config, which only code can give",
    ("ResponseStreamingError", SDK): "RegisterUsage streams nothing",
    **dict.fromkeys(
        ((code, SDK) for code in (*UNSEEN, "ValidationError")),
        "the SDK has it, and no environment of ours brings it about",
    ),
}
"""Codes beside others of their row that no environment brings about, and why."""

ELSEWHERE: Final = {pair for pair in TABLE if pair[1] in (*LICENSES, *LICENSE_ACCESS)} | {
    ("LicenseTokenUnreadable", SDK),
    ("LicenseRoleMissing", SDK),
}
"""What License Manager answers, and what the way to its credentials does: driven in tests/integration/marketplace."""


@dataclass(frozen=True, kw_only=True)
class Driven:
    """How one code is brought about, and what has to come of it."""

    code: str
    asked: AnsweredBy
    answer: AnswerClass
    reason: str
    play: Callable[[Rig], CheckResult]


def by_fault(code: str, asked: AnsweredBy) -> Callable[[Rig], CheckResult]:
    """The emulator's answer to the operation, for a pod with IRSA."""
    name, _, clock = code.partition(":")

    def play(rig: Rig) -> CheckResult:
        aws = rig.aws()
        aws.fault(asked.value, name, times=None, message=EXPIRED if clock else "User: x is not the point")
        return rig.ask(aws.url, rig.irsa, **(BY_DRY_RUN if asked is M else {})).result

    return play


def by_status(code: str, asked: AnsweredBy) -> Callable[[Rig], CheckResult]:
    def play(rig: Rig) -> CheckResult:
        web = rig.web(Said(status=int(code), body=HTML, content_type="text/html"))
        return rig.ask(web.url, rig.irsa if asked is S else KEYS, **(BY_DRY_RUN if asked is M else {})).result

    return play


def in_environment(**env: str) -> Callable[[Rig], CheckResult]:
    """AWS is well; the pod's environment is not. `TMP` stands for the test's directory."""

    def play(rig: Rig) -> CheckResult:
        given = {name: value.replace("TMP", str(rig.tmp)) for name, value in env.items()}
        return rig.ask(rig.aws().url, given).result

    return play


def behaving(behaviour: Behaviour) -> Callable[[Rig], CheckResult]:
    """The emulator signs something else than it should."""
    return lambda rig: rig.ask(rig.aws(behaviour=behaviour).url, rig.irsa).result


def unreadable(rig: Rig) -> CheckResult:
    web = rig.web(Said(body=b"{}", headers={"Content-Length": "7"}))
    return rig.ask(web.url).result


def page_for_xml(rig: Rig) -> CheckResult:
    web = rig.web(Said(body=b"<!DOCTYPE html><html><br></html>", content_type="text/html"))
    return rig.ask(web.url, rig.irsa).result


def replying(body: bytes) -> Callable[[Rig], CheckResult]:
    """Something answers for AWS, in JSON, and is not AWS."""
    return lambda rig: rig.ask(rig.web(Said(body=body)).url).result


def cut_off(rig: Rig) -> CheckResult:
    return rig.ask(rig.web(Said(body=b'{"Signature": "a.b', missing=20)).url).result


def strange_credentials(body: bytes) -> Callable[[Rig], CheckResult]:
    """A credentials endpoint that is none."""

    def play(rig: Rig) -> CheckResult:
        page = rig.web(Said(body=body))
        return rig.ask(page.url, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": page.url + "/"}).result

    return play


def with_irsa(**env: str) -> Callable[[Rig], CheckResult]:
    """IRSA, and something beside it that spoils it."""

    def play(rig: Rig) -> CheckResult:
        (rig.tmp / "empty").touch()
        given = {name: value.replace("TMP", str(rig.tmp)) for name, value in env.items()}
        return rig.ask(rig.aws().url, {**rig.irsa, **given}).result

    return play


def dropped(rig: Rig) -> CheckResult:
    aws = rig.aws()
    aws.fault(R.value, "drop_before")
    return rig.ask(aws.url).result


def malformed_token(rig: Rig) -> CheckResult:
    return rig.ask(rig.web(Said(body=b'{"Signature": "not.a.token"}')).url).result


def ahead(rig: Rig) -> str:
    """AWS, seen from a host whose clock is two hours ahead."""
    return rig.aws(clock=Shifted(-2 * 3600)).url


def unreadable_key(rig: Rig) -> CheckResult:
    return rig.ask(rig.aws().url, public_keys=(PublicKey(version=1, pem="no key"),)).result


def no_task(rig: Rig) -> CheckResult:
    return rig.ask(rig.aws().url, {"POD_UID": "", "ECS_CONTAINER_METADATA_URI_V4": dead_url() + "/v4"}).result


class Silent(ChildProcess):
    """A child whose time is up."""

    def read_line(self, deadline: float) -> bytes | None:
        return super().read_line(time.monotonic())


def through_loop(kind: type[ChildProcess], *command: str) -> Callable[[Rig], CheckResult]:
    """A child that is a real process and says nothing."""

    def start(_: CheckRequest) -> ChildProcess:
        reads, writes = os.pipe()
        pid = os.posix_spawn(command[0], command, {}, file_actions=[(os.POSIX_SPAWN_DUP2, writes, 1)])
        os.close(writes)
        return kind(pid=pid, pipe=reads, spawned=True)

    def play(rig: Rig) -> CheckResult:
        env = {
            "SIDECAR_PRODUCT_CODE": PRODUCT,
            "SIDECAR_PUBLIC_KEY": rig.keys.public_pem(1),
            "SIDECAR_STATE_DIR": str(rig.state_dir),
        }
        settings = Settings.load(env, manifest_path=rig.tmp / "none.yaml")
        gate = EntitlementLoop(
            settings=settings,
            request=CheckRequest.of(settings, "spare"),
            clock=SystemClock(),
            restart_state=RestartState(),
            end=lambda _code, text: pytest.fail(f"ended: {text}"),
            start_child=start,
            chance=lambda: 0.0,
        )
        gate.check_once()
        return gate.result

    return play


def slow(name: str) -> Callable[[Rig], CheckResult]:
    """What takes seconds is asked once for all: see `trickle`."""
    return lambda rig: rig.slow(name)


CONTAINER: Final = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}
CLIENT: Final = [
    ("NoCredentialsError", CONFIG, "no_credentials", in_environment()),
    ("PartialCredentialsError", CONFIG, "partial_credentials", in_environment(AWS_ACCESS_KEY_ID="AKIDHALF")),
    ("CredentialRetrievalError", LATER_CONFIG, "credentials_unreachable", slow("CredentialRetrievalError")),
    (
        "FileNotFoundError",
        CONFIG,
        "web_identity_token_unreadable",
        in_environment(AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE="TMP/nowhere"),
    ),
    ("InvalidConfigError", CONFIG, "sdk_configuration", in_environment(AWS_WEB_IDENTITY_TOKEN_FILE="TMP/token")),
    (
        "ValueError",
        CONFIG,
        "sdk_configuration",
        in_environment(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://credentials.invalid/"),
    ),
    ("ca_bundle_unreadable", CONFIG, "ca_bundle_unreadable", in_environment(AWS_CA_BUNDLE="TMP/nowhere", **KEYS)),
    ("NoRegionError", CONFIG, "no_region", in_environment(AWS_REGION="", AWS_EC2_METADATA_DISABLED="true")),
    ("InvalidRegionError", CONFIG, "no_region", in_environment(AWS_REGION="no region!", **KEYS)),
    ("EndpointConnectionError", RETRY, "aws_unreachable", lambda rig: rig.ask(dead_url()).result),
    ("ConnectTimeoutError", RETRY, "aws_unreachable", slow("ConnectTimeoutError")),
    ("ConnectionClosedError", RETRY, "aws_unreachable", dropped),
    ("ReadTimeoutError", RETRY, "aws_slow", slow("ReadTimeoutError")),
    ("SSLError", CONFIG, "tls_failed", lambda rig: rig.ask(rig.web(Said(), tls=True).url).result),
    ("MalformedProxy", CONFIG, "proxy_malformed", in_environment(HTTP_PROXY="http://127.0.0.1:x", **KEYS)),
    ("MalformedCredentials", CONFIG, "credentials_malformed", in_environment(**{**KEYS, "AWS_SESSION_TOKEN": "a\nb"})),
    ("ProxyConnectionError", CONFIG, "proxy_failed", in_environment(HTTP_PROXY="http://127.0.0.1:9", **KEYS)),
    ("HTTPClientError", RETRY, "aws_unreadable", unreadable),
    ("ResponseParserError", RETRY, "aws_unreadable", page_for_xml),
    ("IncompleteReadError", RETRY, "aws_unreadable", cut_off),
    ("AttributeError", RETRY, "aws_unreadable", replying(b"[]")),
    ("RuntimeError", RETRY, "aws_unreadable", replying(b'{"PublicKeyRotationTimestamp": 1e300}')),
    ("KeyError", RETRY, "aws_unreadable", strange_credentials(b"{}")),
    ("TypeError", RETRY, "aws_unreadable", strange_credentials(b"[]")),
    ("RuntimeError:clock", CONFIG, "clock_skew", lambda rig: rig.ask(ahead(rig), rig.irsa).result),
    ("ParamValidationError", CONFIG, "web_identity_malformed", with_irsa(AWS_WEB_IDENTITY_TOKEN_FILE="TMP/empty")),
    (
        "IsADirectoryError",
        CONFIG,
        "web_identity_token_unreadable",
        with_irsa(AWS_WEB_IDENTITY_TOKEN_FILE="TMP"),
    ),
    (
        "NotADirectoryError",
        CONFIG,
        "web_identity_token_unreadable",
        with_irsa(AWS_WEB_IDENTITY_TOKEN_FILE="TMP/empty/token"),
    ),
    (
        "ContainerTokenUnreadable",
        CONFIG,
        "container_token_unreadable",
        in_environment(**CONTAINER, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="TMP/nowhere"),
    ),
    ("child_failed", RETRY, "asking_failed", through_loop(ChildProcess, "/bin/true")),
    ("child_timed_out", RETRY, "asking_timed_out", through_loop(Silent, "/bin/sleep", "60")),
    ("metadata_unreadable", LATER_CONFIG, "task_metadata_unreadable", no_task),
]

FORGED: Final = [
    ("signature_missing", DENY, behaving(Behaviour(body=Body.MISSING_SIGNATURE))),
    ("token_malformed", DENY, malformed_token),
    ("token_algorithm", DENY, behaving(Behaviour(algorithm=Algorithm.NONE))),
    ("token_signature", DENY, behaving(Behaviour(wrong_key=True))),
    ("token_product_code", DENY, behaving(Behaviour(wrong_product=True))),
    ("token_public_key_version", DENY, behaving(Behaviour(wrong_version=True))),
    ("token_nonce", DENY, behaving(Behaviour(wrong_nonce=True))),
    ("token_contradicts_itself", DENY, behaving(Behaviour(claims=Claims.CONTRADICTING))),
    ("token_iat", DENY, behaving(Behaviour(iat_offset_seconds=-901))),
    ("token_exp", DENY, behaving(Behaviour(exp_past=True))),
    ("token_nbf", DENY, behaving(Behaviour(nbf_ahead=True))),
    ("public_key_unreadable", CONFIG, unreadable_key),
]


def driven() -> list[Driven]:
    """All of them."""
    wire = [
        Driven(code=code, asked=asked, answer=answer, reason=reason, play=by(code, asked))
        for table, by in ((WIRE, by_fault), (STATUS, by_status))
        for askeds, answer, reason, codes in table
        for asked in askeds
        for code in codes.split()
    ]
    client = [
        Driven(code=code, asked=SDK, answer=answer, reason=reason, play=play) for code, answer, reason, play in CLIENT
    ]
    forged = [Driven(code=code, asked=TOKEN, answer=answer, reason=code, play=play) for code, answer, play in FORGED]
    return wire + client + forged


ALL: Final = driven()


@pytest.fixture(scope="module")
def trickle(tmp_path_factory: pytest.TempPathFactory, keys: SigningKeys) -> Iterator[Callable[[str], CheckResult]]:
    """Five to ten seconds each, which are constants: three real children wait them out together, if asked."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:

        @cache
        def reports() -> dict[str, CheckResult]:
            rig = Rig(monkeypatch=patch, tmp=tmp_path_factory.mktemp("slow"), keys=keys, running=running)
            aws = rig.aws()
            aws.fault(R.value, "hang", times=None)
            asked = {
                "ReadTimeoutError": rig.spawn(aws.url, rig.irsa),
                "ConnectTimeoutError": rig.spawn(running.enter_context(black_hole())),
                "CredentialRetrievalError": rig.spawn(
                    dead_url(), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": dead_url() + "/credentials"}
                ),
            }
            for each in asked.values():
                running.callback(each.close)
            return {name: read(each) for name, each in asked.items()}

        yield lambda name: reports()[name]


@pytest.mark.parametrize("case", ALL, ids=lambda each: f"{each.asked.value}-{each.code}")
def test_each_answer_has_its_class_its_reason_and_a_filled_hint(
    case: Driven, rig: Rig, trickle: Callable[[str], CheckResult]
) -> None:
    rig.slow = trickle
    result = case.play(rig)
    code = case.code.partition(":")[0]
    assert (result.answer, result.reason) == (case.answer.value, case.reason)
    assert result.code == code
    assert result.hint
    assert "{" not in result.hint
    row = TABLE[case.code, case.asked]
    if "{host}" in row.hint and result.host:
        assert result.host in result.hint
        assert result.host.startswith("127.0.0.1:")
    if "{region}" in row.hint and case.asked is not SDK:
        assert REGION in result.hint
    if "{role}" in row.hint:
        assert ROLE in result.hint
    assert result.asked in (case.asked.value, "")


def test_every_code_of_the_table_is_driven() -> None:
    """A new row, or a new code in a row, needs a line here; those of License Manager are driven in `marketplace`."""
    covered = {(each.code, each.asked) for each in ALL}
    assert len(covered) == len(ALL)
    assert covered.isdisjoint(CANNOT_COME)
    assert covered | set(CANNOT_COME) | ELSEWHERE == set(TABLE)


def test_no_row_is_covered_by_excuses_alone() -> None:
    good = {(each.code, each.asked) for each in ALL} | ELSEWHERE
    for row in ROWS:
        assert any((code, asked) in good for code in row.codes for asked in row.asked), row.reason


# -- the token for the credentials endpoint ----------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\nX-Evil: 1"])
def test_a_line_break_in_the_endpoints_token_is_a_malformed_credential(end: str, rig: Rig) -> None:
    page, file = rig.web(Said()), rig.tmp / "authorization"
    file.write_bytes(f"secret{end}".encode())
    endpoint = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": page.url + "/"}
    for given in (
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)},
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN": f"secret{end}"},
    ):
        result = rig.ask(page.url, endpoint | given).result
        assert (result.reason, result.code) == ("credentials_malformed", "MalformedCredentials")
        assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in result.hint
        assert "secret" not in repr(result)


@pytest.mark.parametrize("path", ["TMP", "TMP/token/below", "TMP/nowhere"])
def test_the_endpoints_token_is_no_service_account_token(path: str, rig: Rig) -> None:
    result = in_environment(**CONTAINER, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=path)(rig)
    assert result.reason == "container_token_unreadable"
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in result.hint
    assert "fsGroup" not in result.hint


def test_a_service_account_token_that_is_missing_keeps_its_reason(rig: Rig) -> None:
    """Beside the other variable, whose file is not asked for."""
    both = {**CONTAINER, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "TMP/elsewhere"}
    result = with_irsa(**both, AWS_WEB_IDENTITY_TOKEN_FILE="TMP/nowhere")(rig)
    assert result.reason == "web_identity_token_unreadable"


# -- asked once more ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code, answer, _ in FORGED if answer is DENY and code != "token_malformed"])
def test_a_bad_token_is_asked_for_once_more_and_then_believed(code: str, rig: Rig) -> None:
    aws = rig.aws()
    fault = {
        "signature_missing": "missing_signature",
        "token_algorithm": "alg_hs256",
        "token_signature": "wrong_key",
        "token_product_code": "wrong_product",
        "token_public_key_version": "wrong_version",
        "token_nonce": "wrong_nonce",
        "token_contradicts_itself": "claims_contradicting",
        "token_iat": "iat_offset",
        "token_exp": "exp_past",
        "token_nbf": "nbf_ahead",
    }[code]
    aws.fault(R.value, fault, times=2)
    result = rig.ask(aws.url).result
    assert (result.answer, result.reason) == ("deny", code)
    assert len(aws.calls()) == 2

    aws.fault(R.value, fault, times=1)
    second = rig.ask(aws.url).result
    assert (second.answer, second.reason) == ("accepted", "registered")
    assert len(aws.calls()) == 4


def test_a_second_question_has_a_nonce_of_its_own(rig: Rig) -> None:
    made: list[bytes] = []

    def new_random(size: int) -> bytes:
        made.append(os.urandom(size))
        return made[-1]

    aws = rig.aws()
    aws.fault(R.value, "wrong_nonce", times=1)
    assert rig.ask(aws.url, new_random=new_random).result.answer == "accepted"
    assert len(set(made)) == 2


def test_the_token_that_fits_the_first_question_does_not_fit_the_second(rig: Rig) -> None:
    """With the same random bytes a replay would pass; that the bytes are new each time is what stops it."""
    aws = rig.aws()
    assert rig.ask(aws.url, new_random=lambda size: bytes(size)).result.answer == "accepted"
    with pytest.raises(ValueError, match="random bytes"):
        rig.ask(aws.url, new_random=lambda size: bytes(size - 1))


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
@pytest.mark.parametrize(
    ("operation", "question"),
    [
        ("RegisterUsage", {}),
        ("AssumeRoleWithWebIdentity", {}),
        ("MeterUsage", BY_DRY_RUN),
        ("AssumeRoleWithWebIdentity", BY_DRY_RUN),
    ],
    ids=["RegisterUsage", "STS", "MeterUsage", "STS-MeterUsage"],
)
def test_credentials_said_to_be_bad_are_fetched_anew_once_and_then_believed(
    code: str, operation: str, question: Mapping[str, Any], rig: Rig
) -> None:
    aws = rig.aws()
    aws.fault(operation, code, times=1)
    assert rig.ask(aws.url, rig.irsa, **question).result.answer == "accepted"
    exchanged = [call for call in aws.calls() if call.operation == "AssumeRoleWithWebIdentity"]
    assert len(exchanged) == 2

    aws.fault(operation, code, times=2)
    result = rig.ask(aws.url, rig.irsa, **question).result
    assert (result.answer, result.code, result.asked) == ("config", code, operation)
    assert rig.ask(aws.url, rig.irsa, **question).result.answer == "accepted", "no third question was asked"


@pytest.mark.parametrize(
    "code", ["CustomerNotEntitledException", "AccessDeniedException", "ThrottlingException", "InternalFailure"]
)
def test_any_other_answer_is_believed_at_once(code: str, rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, code, times=None)
    rig.ask(aws.url)
    assert len(aws.calls()) == 1


# -- key versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["InvalidPublicKeyVersionException", "InvalidPublicKeyException"])
def test_an_unknown_key_version_gives_way_to_the_next_newest_first(code: str, rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, code, times=2)
    result = rig.ask(aws.url, public_keys=rig.public_keys(3, 2, 1)).result
    assert (result.answer, result.public_key_version) == ("accepted", 1)
    assert len(aws.calls()) == 3


def test_the_newest_key_version_that_works_is_used(rig: Rig) -> None:
    aws = rig.aws()
    result = rig.ask(aws.url, public_keys=rig.public_keys(3, 2, 1)).result
    assert result.public_key_version == 3
    assert len(aws.calls()) == 1


def test_no_known_key_version_is_a_denial(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "InvalidPublicKeyVersionException", times=None)
    result = rig.ask(aws.url, public_keys=rig.public_keys(3, 2, 1)).result
    assert (result.answer, result.reason) == ("deny", "invalid_public_key_version")
    assert len(aws.calls()) == 3


@pytest.mark.parametrize(
    "kind",
    ["CustomerNotEntitledException", "InvalidProductCodeException", "ValidationException", "ThrottlingException"],
)
def test_no_other_answer_moves_on_to_another_key_version(kind: str, rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, kind, times=1)
    assert rig.ask(aws.url, public_keys=rig.public_keys(3, 2, 1)).result.answer != "accepted"
    assert len(aws.calls()) == 1


def test_a_token_of_another_key_moves_on_to_no_other_version(rig: Rig) -> None:
    """Or a forger could choose which of the seller's keys he has to break."""
    aws = rig.aws()
    aws.fault(R.value, "wrong_key", times=2)
    result = rig.ask(aws.url, public_keys=rig.public_keys(3, 2, 1)).result
    assert (result.answer, result.reason) == ("deny", "token_signature")
    assert len(aws.calls()) == 2


def test_an_unreadable_key_asks_nobody(rig: Rig) -> None:
    aws = rig.aws()
    rig.ask(aws.url, public_keys=(PublicKey(version=1, pem="no key"),))
    assert aws.calls() == []


# -- beside the table --------------------------------------------------------------------------------


@pytest.mark.parametrize(("milliseconds", "seconds"), [(1500, 1.5), (0, 0.0), (10_000_000, 300.0)])
def test_the_pause_aws_asks_for_is_reported_in_seconds_and_bounded(milliseconds: int, seconds: float, rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "ThrottlingException", retry_after=milliseconds)
    assert rig.ask(aws.url).result.retry_after_seconds == seconds


@pytest.mark.parametrize("text", ["soon", "-5", "", "1e3"])
def test_a_pause_that_is_no_number_of_milliseconds_never_hurries_us(text: str, rig: Rig) -> None:
    body = b'{"__type": "ThrottlingException", "message": ""}'
    web = rig.web(Said(status=400, body=body, headers={"x-amz-retry-after": text}))
    assert not rig.ask(web.url).result.retry_after_seconds


def test_without_a_pause_none_is_reported(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "ThrottlingException")
    assert rig.ask(aws.url).result.retry_after_seconds is None


@pytest.mark.parametrize(
    "code", ["com.amazonaws.marketplace#AccessDeniedException", "AccessDeniedException:http://internal.amazon.com/x/"]
)
def test_a_code_is_read_without_namespace_and_suffix(code: str, rig: Rig) -> None:
    web = rig.web(Said(status=400, body=json.dumps({"__type": code, "message": "no"}).encode()))
    result = rig.ask(web.url).result
    assert (result.code, result.reason) == ("AccessDeniedException", "access_denied")


def test_an_unknown_code_stands_in_the_hint_and_is_a_mistake_here(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "BrandNewException")
    result = rig.ask(aws.url).result
    assert (result.answer, result.reason, result.code) == ("config", "unknown_error", "BrandNewException")
    assert "BrandNewException" in result.hint


@pytest.mark.parametrize("body", [b"", HTML, b"{}", b'{"Signature": null}', b'{"signature": "x"}'])
def test_a_success_without_a_signature_is_asked_once_more_and_then_a_denial(body: bytes, rig: Rig) -> None:
    web = rig.web(Said(body=body))
    result = rig.ask(web.url).result
    assert (result.answer, result.reason, result.asked) == ("deny", "signature_missing", "token")
    assert len(web.requests) == 2


def test_an_answer_that_breaks_off_is_no_answer(rig: Rig) -> None:
    web = rig.web(Said(body=b'{"Signature": "a.b', missing=20))
    assert rig.ask(web.url).result.answer == "retry"


def test_a_lost_answer_is_asked_for_again_later(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "drop_after")
    result = rig.ask(aws.url).result
    assert (result.answer, result.code) == ("retry", "ConnectionClosedError")
    assert rig.ask(aws.url).result.answer == "accepted"


def test_a_proxy_that_refuses_the_host_is_a_mistake_here(rig: Rig) -> None:
    proxy = rig.web(Said(status=403))
    result = rig.ask("https://metering.invalid", {**KEYS, "HTTPS_PROXY": proxy.url}).result
    assert (result.answer, result.reason) == ("config", "proxy_failed")
    assert "metering.invalid" in result.hint


def test_an_sts_that_cannot_be_reached_is_named(rig: Rig) -> None:
    url = dead_url()
    result = rig.ask(url, rig.irsa).result
    assert result.reason == "aws_unreachable"
    assert urlsplit(url).netloc in result.hint


@pytest.mark.parametrize(("off", "word"), [(-3600, "behind"), (3600, "ahead of")])
def test_a_clock_that_is_off_is_said_by_how_much(off: int, word: str, rig: Rig) -> None:
    body = json.dumps({"__type": "InvalidSignatureException", "message": EXPIRED}).encode()
    web = rig.web(Said(status=400, body=body, headers={"Date": formatted(Shifted(-off))}))
    hint = rig.ask(web.url).result.hint
    assert word in hint
    assert any(f"{abs(off) + each} s" in hint for each in (-1, 0, 1))


def test_a_clock_that_is_right_is_not_blamed(rig: Rig) -> None:
    body = json.dumps({"__type": "InvalidSignatureException", "message": EXPIRED}).encode()
    web = rig.web(Said(status=400, body=body, headers={"Date": formatted(Shifted(0))}))
    assert "This host is" not in rig.ask(web.url).result.hint


def test_the_emulators_skewed_clock_is_said_by_how_much(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "clock_skew", seconds=3600)
    assert "behind AWS" in rig.ask(aws.url).result.hint


def test_a_clock_hours_ahead_is_said_to_be_the_clock_under_irsa(rig: Rig) -> None:
    """STS does not look at our clock; but to us its fresh credentials have expired."""
    result = rig.ask(rig.aws(clock=Shifted(-2 * 3600)).url, rig.irsa).result
    assert result.answer in ("config", "retry")
    assert "clock" in result.hint


@pytest.mark.parametrize("kind", ["well-formed page", "credentials without fields"])
def test_a_stranger_in_place_of_a_credentials_endpoint_is_no_crash(kind: str, rig: Rig) -> None:
    page: Web = rig.web(Said(body=HTML if kind == "well-formed page" else b"{}"))
    env = rig.irsa if kind == "well-formed page" else {"AWS_CONTAINER_CREDENTIALS_FULL_URI": page.url + "/"}
    assert rig.ask(page.url, env).result.answer in ("retry", "retry_then_config")


@pytest.mark.parametrize("kind", ["empty token file", "short role ARN", "token file is a directory"])
def test_a_broken_irsa_set_up_is_said_in_the_operators_words(kind: str, rig: Rig) -> None:
    empty = rig.tmp / "empty"
    empty.touch()
    env = {
        "empty token file": {**rig.irsa, "AWS_WEB_IDENTITY_TOKEN_FILE": str(empty)},
        "short role ARN": {**rig.irsa, "AWS_ROLE_ARN": "app"},
        "token file is a directory": {**rig.irsa, "AWS_WEB_IDENTITY_TOKEN_FILE": str(rig.tmp)},
    }[kind]
    assert rig.ask(rig.aws().url, env).result.reason != "unknown_error"


# -- through the child -------------------------------------------------------------------------------


def test_a_real_child_gives_the_same_report(rig: Rig) -> None:
    aws = rig.aws()
    aws.fault(R.value, "AccessDeniedException", times=2)
    asked = rig.spawn(aws.url, rig.irsa)
    try:
        result = read(asked)
    finally:
        asked.close()
    here = rig.ask(aws.url, rig.irsa).result
    assert result.reason == "access_denied"
    assert {**vars(result), "request_id": ""} == {**vars(here), "request_id": ""}


def test_a_real_child_ends_after_its_report(rig: Rig, tmp_path: Path) -> None:
    asked = rig.spawn(rig.aws().url, rig.irsa)
    try:
        assert read(asked).answer == "accepted"
        assert asked.read_line(time.monotonic() + 10) is not None, "whether the answer was kept"
        assert asked.read_line(time.monotonic() + 10) is None
        assert asked.ended
    finally:
        asked.close()


def formatted(clock: Shifted) -> str:
    from email.utils import format_datetime

    return format_datetime(clock.now().replace(microsecond=0), usegmt=True)
