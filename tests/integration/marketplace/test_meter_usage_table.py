"""Every row of the table of MeterUsage, met over real HTTP through the real SDK.

How each code is brought about is written here by hand; a code that is in the table and not driven here
fails `test_every_code_of_the_table_is_driven`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from typing import Final

import pytest

from sidecar.billing.messages import Submission, read_results
from sidecar.child import process
from sidecar.emulator.keys import SigningKeys
from sidecar.marketplace.meter_usage import Metered
from sidecar.metering.dispositions import TABLE, classify
from sidecar.metering.license_dispositions import ROWS as LICENSE_ROWS
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.quick_dataclasses import dataclass
from tests.integration.gate.sdk_exceptions import UNSEEN
from tests.integration.gate.support import HTML, KEYS, REGION, ROLE, Answer, Rig, Shifted, black_hole, dead_url

from .support import REQUEST, metered, sealed

EXPIRED: Final = "Signature expired: 20260301T110000Z is now earlier than 20260301T114500Z (20260301T120000Z - 15 min.)"


def codes(text: str) -> list[str]:
    return text.split()


SAID: Final = codes(
    "CustomerNotEntitledException CustomerNotSubscribedException InvalidProductCodeException"
    " InvalidUsageDimensionException InvalidTagException InvalidUsageAllocationsException"
    " TimestampOutOfBoundsException DuplicateRequestException IdempotencyConflictException ValidationException"
    " SerializationException UnknownOperationException DryRunOperation InvalidEndpointRegionException"
    " DisabledApiException PlatformNotSupportedException AccessDeniedException UnauthorizedException"
    " UnauthorizedOperation AccessDenied ExpiredTokenException ExpiredToken UnrecognizedClientException"
    " InvalidClientTokenId MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature"
    " IncompleteSignatureException InvalidSignatureException SignatureDoesNotMatch"
    " InvalidSignatureException:clock SignatureDoesNotMatch:clock RequestTimeTooSkewed RequestExpired"
    " OptInRequired AuthFailure NotAuthorized ThrottlingException Throttling TooManyRequestsException"
    " RequestLimitExceeded InternalServiceErrorException InternalFailure InternalError ServiceUnavailable"
    " ServiceUnavailableException RequestTimeout RequestTimeoutException"
)
"""MeterUsage says it in an error body."""
STS: Final = codes(
    "InvalidIdentityToken IDPRejectedClaim ValidationError RegionDisabledException PackedPolicyTooLarge"
    " MalformedPolicyDocument IDPCommunicationError"
)
"""STS says it while credentials are fetched."""
STATUS: Final = codes("429 301 302 307 308 400 401 403 404 405 407 411 413 408 500 502 503 504")
"""An HTTP status with a web page below it: a gateway, a proxy."""

CANNOT_COME: Final = {
    "MetadataRetrievalError": "the SDK hands it on as CredentialRetrievalError",
    "PermissionError": "the tests may run as root, who may read everything",
    "InvalidEndpointConfigurationError": "needs an ARN as a resource; MeterUsage takes none",
    "InvalidProxiesConfigError": "needs a proxies_config, which only code can give",
    "ResponseStreamingError": "MeterUsage streams nothing",
    "metadata_unreadable": "the parent says it, before there is anything to send",
    "LicenseTokenUnreadable": "MeterUsage takes no credentials of a license; see test_drawdown",
    "LicenseRoleMissing": "the same",
    "DecimalsUnsupported": "needs an SDK without the decimal fields; see test_metering",
    **dict.fromkeys(UNSEEN, "the SDK has it, and no environment of ours brings it about"),
}
"""Codes beside others of their row that no environment brings about, and why."""


@dataclass(frozen=True, kw_only=True)
class Driven:
    """How one code is brought about."""

    code: str
    sent: bool
    """Whether MeterUsage may have been asked."""
    play: Callable[[Rig], Outcome]


def by_fault(code: str) -> Callable[[Rig], Outcome]:
    name, _, clock = code.partition(":")

    def play(rig: Rig) -> Outcome:
        aws = rig.aws()
        aws.fault("MeterUsage", name, times=None, message=EXPIRED if clock else "User: x is not the point")
        return metered(rig, aws.url).outcome

    return play


def by_sts(code: str) -> Callable[[Rig], Outcome]:
    def play(rig: Rig) -> Outcome:
        aws = rig.aws()
        aws.fault("AssumeRoleWithWebIdentity", code, times=None)
        return metered(rig, aws.url, rig.irsa).outcome

    return play


def by_page(answer: Answer) -> Callable[[Rig], Outcome]:
    return lambda rig: metered(rig, rig.web(answer).url).outcome


def by_environment(**env: str) -> Callable[[Rig], Outcome]:
    """AWS is well; the pod's environment is not. `TMP` stands for the test's directory."""

    def play(rig: Rig) -> Outcome:
        (rig.tmp / "empty").touch()
        given = {name: value.replace("TMP", str(rig.tmp)) for name, value in env.items()}
        return metered(rig, rig.aws().url, given).outcome

    return play


def by_irsa(**env: str) -> Callable[[Rig], Outcome]:
    """IRSA, and something beside it that spoils it."""
    return lambda rig: by_environment(**{**rig.irsa, **env})(rig)


def by_child(code: str) -> Callable[[Rig], Outcome]:
    """What the parent says in place of a child that died, or whose time is up."""

    def play(rig: Rig) -> Outcome:
        aws = rig.aws()
        aws.fault("MeterUsage", "hang", times=None)
        submission = Submission(requests=(REQUEST,), region=REGION, endpoint_url=aws.url)
        started = rig.spawned(submission)
        if code == "child_failed":
            started.kill_if_running()
        return read_results(started, submission, time.monotonic() + (30 if code == "child_failed" else -60))[0].outcome

    return play


def dropped(rig: Rig) -> Outcome:
    aws = rig.aws()
    aws.fault("MeterUsage", "drop_before")
    return metered(rig, aws.url).outcome


def no_record_id(rig: Rig) -> Outcome:
    aws = rig.aws()
    aws.fault("MeterUsage", "missing_record_id")
    return metered(rig, aws.url).outcome


def bundle(rig: Rig) -> Outcome:
    from sidecar.billing.job import SubmitJob

    submission = Submission(requests=(REQUEST,), region=REGION, endpoint_url=rig.aws().url)
    with rig.seen_by_sdk(submission.endpoint_url, {**KEYS, "AWS_CA_BUNDLE": str(rig.tmp / "nowhere")}) as seen:
        return next(SubmitJob(submission=submission, env=seen).results()).outcome


def ahead(rig: Rig) -> Outcome:
    """AWS, seen from a host whose clock is two hours ahead."""
    return metered(rig, rig.aws(clock=Shifted(-2 * 3600)).url, rig.irsa).outcome


CLIENT: Final[Mapping[str, Callable[[Rig], Outcome]]] = {
    "ParamValidationError": lambda rig: metered(rig, rig.aws().url, request=sealed(quantity="0.5")).outcome,
    "RuntimeError:clock": ahead,
    "NoCredentialsError": by_environment(),
    "PartialCredentialsError": by_environment(AWS_ACCESS_KEY_ID="AKIDHALF"),
    "CredentialRetrievalError": lambda rig: rig.slow("CredentialRetrievalError"),
    "FileNotFoundError": by_environment(AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE="TMP/nowhere"),
    "IsADirectoryError": by_irsa(AWS_WEB_IDENTITY_TOKEN_FILE="TMP"),
    "NotADirectoryError": by_irsa(AWS_WEB_IDENTITY_TOKEN_FILE="TMP/empty/token"),
    "InvalidConfigError": by_environment(AWS_WEB_IDENTITY_TOKEN_FILE="TMP/token"),
    "NoRegionError": lambda rig: metered(rig, rig.aws().url, region="").outcome,
    "InvalidRegionError": lambda rig: metered(rig, rig.aws().url, region="no region!").outcome,
    "ca_bundle_unreadable": bundle,
    "credentials_malformed": by_irsa(AWS_WEB_IDENTITY_TOKEN_FILE="TMP/empty"),
    "ContainerTokenUnreadable": by_environment(
        AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:9/", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="TMP/nowhere"
    ),
    "EndpointConnectionError": lambda rig: metered(rig, dead_url()).outcome,
    "ConnectTimeoutError": lambda rig: rig.slow("ConnectTimeoutError"),
    "MalformedProxy": by_environment(HTTP_PROXY="http://127.0.0.1:x", **KEYS),
    "MalformedCredentials": by_environment(**{**KEYS, "AWS_SESSION_TOKEN": "a\nb"}),
    "ProxyConnectionError": by_environment(HTTP_PROXY="http://127.0.0.1:9", **KEYS),
    "SSLError:certificate": lambda rig: metered(rig, rig.web(Answer(), tls=True).url).outcome,
}
"""The SDK could not ask: certainly not billed."""

LOST: Final[Mapping[str, Callable[[Rig], Outcome]]] = {
    "ReadTimeoutError": lambda rig: rig.slow("ReadTimeoutError"),
    "ConnectionClosedError": dropped,
    "SSLError": lambda rig: metered(rig, rig.web(Answer()).url.replace("http:", "https:")).outcome,
    "HTTPClientError": by_page(Answer(body=b"{}", headers={"Content-Length": "7"})),
    "IncompleteReadError": by_page(Answer(body=b'{"MeteringRecordId": "r', missing=20)),
    "record_id_missing": no_record_id,
    "child_failed": by_child("child_failed"),
    "child_timed_out": by_child("child_timed_out"),
}
"""Nobody can say what AWS did."""
UNREADABLE: Final = "ResponseParserError"


def driven() -> list[Driven]:
    """All of them."""
    return [
        *(Driven(code=code, sent=True, play=by_fault(code)) for code in SAID),
        *(Driven(code=code, sent=False, play=by_sts(code)) for code in STS),
        *(
            Driven(code=code, sent=True, play=by_page(Answer(status=int(code), body=HTML, content_type="text/html")))
            for code in STATUS
        ),
        *(Driven(code=code, sent=False, play=play) for code, play in CLIENT.items()),
        *(Driven(code=code, sent=True, play=play) for code, play in LOST.items()),
        Driven(code=UNREADABLE, sent=False, play=page_for_xml),
    ]


def page_for_xml(rig: Rig) -> Outcome:
    """STS's place is taken by a web page."""
    page = Answer(body=b"<!DOCTYPE html><html><br></html>", content_type="text/html")
    return metered(rig, rig.web(page).url, rig.irsa).outcome


ALL: Final = driven()


@pytest.fixture(scope="module")
def trickle(tmp_path_factory: pytest.TempPathFactory, keys: SigningKeys) -> Iterator[Callable[[str], Outcome]]:
    """Five to ten seconds each, which are constants: three real children wait them out together, if asked."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:

        @cache
        def found() -> dict[str, Outcome]:
            rig = Rig(monkeypatch=patch, tmp=tmp_path_factory.mktemp("slow"), keys=keys, running=running)
            aws = rig.aws()
            aws.fault("MeterUsage", "hang", times=None)
            gone = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": dead_url() + "/credentials"}
            asked: dict[str, tuple[process.ChildProcess, Submission]] = {}
            for name, url, env in (
                ("ReadTimeoutError", aws.url, KEYS),
                ("ConnectTimeoutError", running.enter_context(black_hole()), KEYS),
                ("CredentialRetrievalError", dead_url(), gone),
            ):
                submission = Submission(requests=(REQUEST,), region=REGION, endpoint_url=url)
                asked[name] = (rig.spawned(submission, env), submission)
            until = time.monotonic() + 30
            return {name: read_results(*each, until)[0].outcome for name, each in asked.items()}

        yield lambda name: found()[name]


@pytest.mark.parametrize("case", ALL, ids=lambda each: each.code)
def test_each_answer_becomes_an_outcome_of_its_row(case: Driven, rig: Rig, trickle: Callable[[str], Outcome]) -> None:
    rig.slow = trickle  # type: ignore[assignment]
    outcome = case.play(rig)
    assert isinstance(outcome, Refused | Unknown)
    assert outcome.code == case.code.partition(":")[0]
    message = outcome.message if isinstance(outcome, Refused) else ""
    row = TABLE[case.code]
    assert classify(outcome.code, message) is row
    assert len(message) < 30, "no more than the words that decide"
    if isinstance(outcome, Refused):
        assert outcome.sent is case.sent
    else:
        assert not row.definite


@pytest.mark.parametrize("code", LOST)
def test_a_lost_answer_is_never_a_definite_no(code: str) -> None:
    assert not TABLE[code].definite


def test_every_code_of_the_table_is_driven() -> None:
    """A new row, or a new code in a row, needs a line here."""
    covered = {each.code for each in ALL}
    assert len(covered) == len(ALL)
    assert covered.isdisjoint(CANNOT_COME)
    assert covered | set(CANNOT_COME) == set(TABLE) - {code for row in LICENSE_ROWS for code in row.codes}


@pytest.mark.parametrize(
    "code", ["ValidationException", "InvalidTagException", "DuplicateRequestException", "TimestampOutOfBoundsException"]
)
def test_a_refusal_of_sts_never_speaks_about_the_record(code: str, rig: Rig) -> None:
    assert by_sts(code)(rig) == Refused(code="credentials_malformed", sent=False)


def test_a_refusal_of_stss_that_is_known_keeps_its_code(rig: Rig) -> None:
    assert by_sts("AccessDenied")(rig) == Refused(code="AccessDenied", sent=False)
    assert by_sts("ExpiredTokenException")(rig) == Refused(code="ExpiredTokenException", sent=False)


NOT_SENT: Final = [
    {"HTTP_PROXY": "http://127.0.0.1:x"},
    {"HTTP_PROXY": "http://user:pa#ss@127.0.0.1:3128"},
    {"HTTP_PROXY": "#"},
    {"HTTP_PROXY": "http://127.0.0.1:99999"},
    {"AWS_SESSION_TOKEN": "a\nb"},
    {"AWS_ACCESS_KEY_ID": "AKID\n"},
]


@pytest.mark.parametrize("env", NOT_SENT, ids=lambda env: next(iter(env.values())))
def test_what_never_left_the_host_is_not_a_lost_answer(env: dict[str, str], rig: Rig) -> None:
    aws = rig.aws()
    submission = Submission(requests=(REQUEST, REQUEST), region=REGION, endpoint_url=aws.url)
    found = read_results(rig.spawned(submission, {**KEYS, **env}), submission, time.monotonic() + 30)
    for result in found:
        assert isinstance(result.outcome, Refused)
        assert classify(result.outcome.code).definite
        assert classify(result.outcome.code).slow, "a person must change something"
    assert not aws.calls()


@pytest.mark.parametrize("name", ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN"])
def test_a_line_break_in_the_endpoints_token_keeps_the_record_sealed(name: str, rig: Rig) -> None:
    file = rig.tmp / "authorization"
    file.write_text("secret\n")
    given = {name: str(file) if name.endswith("FILE") else "secret\n"}
    play = by_environment(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:9/", **given)
    assert play(rig) == Refused(code="MalformedCredentials", sent=False)


def test_blanks_around_a_proxy_do_not_keep_usage_back(rig: Rig) -> None:
    aws = rig.aws()
    env = {**KEYS, "HTTP_PROXY": f" {dead_url()} ", "NO_PROXY": "127.0.0.1"}
    submission = Submission(requests=(REQUEST,), region=REGION, endpoint_url=aws.url)
    (found,) = read_results(rig.spawned(submission, env), submission, time.monotonic() + 30)
    assert isinstance(found.outcome, Settled)


def test_a_code_nobody_knows_is_handed_on(rig: Rig) -> None:
    assert by_fault("BrandNewException")(rig) == Refused(code="BrandNewException")


def test_what_an_answer_looks_like_is_no_crash(rig: Rig) -> None:
    for body in (b"[]", b"null", b"7", b'"text"', b'{"MeteringRecordId": 7}', b'{"MeteringRecordId": " "}', b"\xff"):
        found = metered(rig, rig.web(Answer(body=body)).url)
        assert isinstance(found, Metered)
        assert isinstance(found.outcome, Unknown), body
        assert not classify(found.outcome.code).definite
