"""Only a token that AWS signed for this very question verifies; each refusal has its own reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.entitlement.registration import PublicKeyVersion
from sidecar.entitlement.token import LEEWAY, TOKEN_CHARACTERS_MAX, public_key, verify
from sidecar.errors import TokenRejected
from sidecar.quick_dataclasses import dataclass, replace

from .tokens import (
    ASKED,
    CLAIMS,
    HEADER,
    NONCE,
    NOW,
    PASCAL,
    b64,
    compact,
    hs256,
    pem,
    ps256,
    ps384,
    pss,
    rs256,
    token,
    unb64,
    unsigned,
    without,
)

IAT: Final = int(NOW.timestamp())


@dataclass(frozen=True, kw_only=True)
class Keys:
    ours: RSAPrivateKey
    stranger: RSAPrivateKey


@pytest.fixture(scope="session")
def keys(key: RSAPrivateKey, stranger: RSAPrivateKey) -> Keys:
    return Keys(ours=key, stranger=stranger)


Forge = Callable[[Keys], object]


def claims(**changed: object) -> Forge:
    """Well signed, with these claims changed or added."""
    return lambda keys: token(keys.ours, {**CLAIMS, **changed})


def raw(payload: bytes | str) -> Forge:
    """Well signed, over a payload of any bytes."""
    return lambda keys: token(keys.ours, payload if isinstance(payload, bytes) else payload.encode())


def header(**changed: object) -> Forge:
    """Well signed, with these header fields changed or added."""
    return lambda keys: token(keys.ours, header={**HEADER, **changed})


def text(change: Callable[[str], object]) -> Forge:
    """A good token, whose text was changed afterwards."""
    return lambda keys: change(token(keys.ours))


def given_twice(name: str, value: object) -> Forge:
    """Well signed, with one claim twice in the JSON."""
    whole = compact(CLAIMS).decode()
    return raw(whole[:-1] + f',"{name}":{json.dumps(value)}}}')


def jwk_of(key: RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "RSA",
        "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": b64(numbers.e.to_bytes(3, "big")),
    }


def own_key_in_header(keys: Keys) -> str:
    return token(keys.stranger, header={**HEADER, "jwk": jwk_of(keys.stranger)})


def swapped_payload(keys: Keys) -> str:
    head, _, signature = token(keys.ours, {**CLAIMS, "nonce": "theirs"}).split(".")
    return f"{head}.{b64(compact(CLAIMS))}.{signature}"


def padded(keys: Keys) -> str:
    """Each part with its padding, as the load balancers of AWS write theirs."""
    head, body = (base64.urlsafe_b64encode(compact(one)).decode() for one in (HEADER, {**CLAIMS, "a": "b"}))
    signed = f"{head}.{body}"
    assert "=" in signed
    return f"{signed}.{base64.urlsafe_b64encode(ps256(keys.ours, signed.encode())).decode()}"


def detached(keys: Keys) -> str:
    head, _, signature = token(keys.ours, header={**HEADER, "b64": False, "crit": ["b64"]}).split(".")
    return f"{head}..{signature}"


MISSING, MALFORMED, ALGORITHM = "signature_missing", "token_malformed", "token_algorithm"
SIGNATURE, PRODUCT, VERSION = "token_signature", "token_product_code", "token_public_key_version"
NONCE_WRONG, CONTRADICTS, IAT_WRONG = "token_nonce", "token_contradicts_itself", "token_iat"
EXP_WRONG, NBF_WRONG = "token_exp", "token_nbf"

NO_TIMES: Final[dict[str, object]] = {
    "text": str(IAT),
    "true": True,
    "null": None,
    "list": [IAT],
    "negative": -1,
}

FORGED: Final[dict[str, tuple[Forge, str]]] = {
    # Nothing that could be a token.
    "none": (lambda _: None, MISSING),
    "empty": (lambda _: "", MISSING),
    "bytes": (lambda keys: token(keys.ours).encode(), MALFORMED),
    "number": (lambda _: 0, MALFORMED),
    "false": (lambda _: False, MALFORMED),
    "list": (lambda keys: [token(keys.ours)], MALFORMED),
    "one word": (lambda _: "token", MALFORMED),
    "dots": (lambda _: "..", MALFORMED),
    "a web page": (lambda _: "<html>sign in</html>", MALFORMED),
    # Another algorithm.
    "alg none": (lambda keys: token(keys.ours, header={"alg": "none"}, sign=unsigned), ALGORITHM),
    "alg None": (lambda keys: token(keys.ours, header={"alg": "None"}, sign=unsigned), ALGORITHM),
    "alg none, signed": (header(alg="none"), ALGORITHM),
    "alg missing": (lambda keys: token(keys.ours, header={"typ": "JWT"}), ALGORITHM),
    "alg null": (header(alg=None), ALGORITHM),
    "alg list": (header(alg=["PS256"]), ALGORITHM),
    "alg in lower case": (header(alg="ps256"), ALGORITHM),
    "alg with a space": (header(alg="PS256 "), ALGORITHM),
    "HS256 with the public key": (
        lambda keys: token(keys.ours, header={"alg": "HS256", "typ": "JWT"}, sign=hs256),
        ALGORITHM,
    ),
    "RS256": (lambda keys: token(keys.ours, header={"alg": "RS256"}, sign=rs256), ALGORITHM),
    "PS384": (lambda keys: token(keys.ours, header={"alg": "PS384"}, sign=ps384), ALGORITHM),
    "alg twice, none last": (
        lambda keys: token(keys.ours, header=b'{"alg":"PS256","alg":"none"}', sign=unsigned),
        ALGORITHM,
    ),
    # A header that says PS256 over another signature.
    "alg twice, PS256 last": (
        lambda keys: token(keys.ours, header=b'{"alg":"none","alg":"PS256"}', sign=unsigned),
        SIGNATURE,
    ),
    "HMAC called PS256": (lambda keys: token(keys.ours, sign=hs256), SIGNATURE),
    "RS256 called PS256": (lambda keys: token(keys.ours, sign=rs256), SIGNATURE),
    "PS384 called PS256": (lambda keys: token(keys.ours, sign=ps384), SIGNATURE),
    "PSS without salt": (lambda keys: token(keys.ours, sign=pss(hashes.SHA256(), 0)), SIGNATURE),
    "no signature": (lambda keys: token(keys.ours, sign=unsigned), SIGNATURE),
    "another key": (lambda keys: token(keys.stranger), SIGNATURE),
    "another key, in the header": (own_key_in_header, SIGNATURE),
    "another key, by kid": (lambda keys: token(keys.stranger, header={**HEADER, "kid": "1"}), SIGNATURE),
    "another key, by x5u": (
        lambda keys: token(keys.stranger, header={**HEADER, "x5u": "https://forger.invalid/key.pem"}),
        SIGNATURE,
    ),
    "another key, by jku": (
        lambda keys: token(keys.stranger, header={**HEADER, "jku": "https://forger.invalid/keys"}),
        SIGNATURE,
    ),
    "the payload of another token": (swapped_payload, SIGNATURE),
    "signature of zeros": (lambda keys: token(keys.ours, sign=lambda _k, _d: bytes(256)), SIGNATURE),
    "signature too long": (lambda keys: token(keys.ours, sign=lambda _k, _d: bytes(257)), SIGNATURE),
    # Header tricks, well signed.
    "crit unknown": (header(crit=["exp"], exp=1), MALFORMED),
    "crit empty": (header(crit=[]), MALFORMED),
    "crit text": (header(crit="b64"), MALFORMED),
    "b64 true": (header(b64=True), MALFORMED),
    "b64 false": (header(b64=False), MALFORMED),
    "b64 false and critical": (header(b64=False, crit=["b64"]), MALFORMED),
    "detached": (detached, MALFORMED),
    "kid number": (header(kid=1), MALFORMED),
    "jku without a scheme": (header(jku="example.invalid/keys"), MALFORMED),
    "x5u of a file": (header(x5u="file:///etc/key.pem"), MALFORMED),
    "jku number": (header(jku=1), MALFORMED),
    "typ number": (header(typ=1), MALFORMED),
    "x5c text": (header(x5c="x"), MALFORMED),
    "x5c of numbers": (header(x5c=[1]), MALFORMED),
    "jwk list": (header(jwk=[]), MALFORMED),
    "header list": (lambda keys: token(keys.ours, header=b'["PS256"]'), MALFORMED),
    "header text": (lambda keys: token(keys.ours, header=b"PS256"), MALFORMED),
    "header empty": (lambda keys: token(keys.ours, header=b""), MALFORMED),
    "header not UTF-8": (lambda keys: token(keys.ours, header=b'{"alg":"PS256\xff"}'), MALFORMED),
    "header deep": (lambda keys: token(keys.ours, header=b"[" * 3000 + b"]" * 3000), MALFORMED),
    # The text.
    # 22 and not 20: what is left then is base64 that may end there, in whatever version of the library.
    "truncated": (text(lambda good: good[:-22]), SIGNATURE),
    "truncated to an impossible length": (text(lambda good: good[:-21]), MALFORMED),
    "first character lost": (text(lambda good: good[1:]), MALFORMED),
    "two segments": (text(lambda good: good.rpartition(".")[0]), MALFORMED),
    "four segments": (text(lambda good: good + ".AAAA"), MALFORMED),
    "five segments": (text(lambda good: good + ".AAAA.AAAA"), MALFORMED),
    "huge": (claims(padding="x" * TOKEN_CHARACTERS_MAX), MALFORMED),
    "huge junk": (lambda _: "A" * 10_000_000, MALFORMED),
    "unicode": (text(lambda good: good + "é"), MALFORMED),
    "a lone surrogate": (text(lambda good: good + "\ud800"), MALFORMED),
    "full-width letters": (text(lambda good: "ｅ" + good[1:]), MALFORMED),
    "NUL": (text(lambda good: good + "\0"), MALFORMED),
    "space before": (text(lambda good: " " + good), MALFORMED),
    "newline after": (text(lambda good: good + "\n"), MALFORMED),
    "space in the middle": (text(lambda good: good.replace(".", ". ", 1)), MALFORMED),
    "Bearer before": (text(lambda good: "Bearer " + good), MALFORMED),
    "quotes around": (text(lambda good: f'"{good}"'), MALFORMED),
    "too little padding": (text(lambda good: good + "="), MALFORMED),
    "too much padding": (text(lambda good: good + "======"), MALFORMED),
    "a line break in the signature": (text(lambda good: good[:-8] + "\n" + good[-8:]), MALFORMED),
    "a plus in the signature": (text(lambda good: good[:-8] + "+" + good[-7:]), MALFORMED),
    "junk in the signature": (text(lambda good: good[:-4] + "!!!!" + good[-4:]), MALFORMED),
    # Payloads.
    "payload empty": (raw(b""), MALFORMED),
    "payload not JSON": (raw("productCode=prod1"), MALFORMED),
    "payload cut short": (raw(compact(CLAIMS)[:-1]), MALFORMED),
    "payload with a tail": (raw(compact(CLAIMS) + b"{}"), MALFORMED),
    "payload list": (lambda keys: token(keys.ours, [dict(CLAIMS)]), MALFORMED),
    "payload null": (raw("null"), MALFORMED),
    "payload text": (raw(json.dumps("prod1")), MALFORMED),
    "payload deep": (raw("[" * 5000 + "]" * 5000), MALFORMED),
    "payload not UTF-8": (raw(b'{"nonce":"\xff\xfe"}'), MALFORMED),
    "payload with NaN": (raw('{"nonce":NaN}'), MALFORMED),
    "payload with a byte order mark": (raw(b"\xef\xbb\xbf" + compact(CLAIMS)), MALFORMED),
    "payload in UTF-16": (raw(compact(CLAIMS).decode().encode("utf-16")), MALFORMED),
    "payload number too long": (raw('{"nonce":' + "9" * 5000 + "}"), MALFORMED),
    # Claims.
    "no claims": (lambda keys: token(keys.ours, {}), PRODUCT),
    "product code missing": (lambda keys: token(keys.ours, without("productCode")), PRODUCT),
    "version missing": (lambda keys: token(keys.ours, without("publicKeyVersion")), VERSION),
    "nonce missing": (lambda keys: token(keys.ours, without("nonce")), NONCE_WRONG),
    "another product": (claims(productCode="prod2"), PRODUCT),
    "product in upper case": (claims(productCode="PROD1"), PRODUCT),
    "product with a space": (claims(productCode="prod1 "), PRODUCT),
    "product null": (claims(productCode=None), PRODUCT),
    "product number": (claims(productCode=1), PRODUCT),
    "product list": (claims(productCode=["prod1"]), PRODUCT),
    "another nonce": (claims(nonce=NONCE[::-1]), NONCE_WRONG),
    "nonce cut short": (claims(nonce=NONCE[:-1]), NONCE_WRONG),
    "nonce longer": (claims(nonce=NONCE + "0"), NONCE_WRONG),
    "nonce empty": (claims(nonce=""), NONCE_WRONG),
    "nonce null": (claims(nonce=None), NONCE_WRONG),
    "nonce number": (claims(nonce=0), NONCE_WRONG),
    "nonce true": (claims(nonce=True), NONCE_WRONG),
    "nonce list": (claims(nonce=[NONCE]), NONCE_WRONG),
    "nonce object": (claims(nonce={"nonce": NONCE}), NONCE_WRONG),
    "another version": (claims(publicKeyVersion=2), VERSION),
    "another version as text": (claims(publicKeyVersion="2"), VERSION),
    "version negative": (claims(publicKeyVersion=-1), VERSION),
    "version true": (claims(publicKeyVersion=True), VERSION),
    "version 1.0": (claims(publicKeyVersion=1.0), VERSION),
    "version 01": (claims(publicKeyVersion="01"), VERSION),
    "version with a space": (claims(publicKeyVersion=" 1"), VERSION),
    "version in other digits": (claims(publicKeyVersion="١"), VERSION),
    "version null": (claims(publicKeyVersion=None), VERSION),
    "version list": (claims(publicKeyVersion=[1]), VERSION),
    "other casing altogether": (
        lambda keys: token(keys.ours, {**without("nonce"), "NONCE": NONCE}),
        NONCE_WRONG,
    ),
    # Said twice.
    "nonces contradict": (claims(Nonce="theirs"), CONTRADICTS),
    "products contradict": (claims(ProductCode="prod2"), CONTRADICTS),
    "versions contradict": (claims(PublicKeyVersion="2"), CONTRADICTS),
    "the other casing is right, this one wrong": (claims(nonce="theirs", Nonce=NONCE), CONTRADICTS),
    "both casings wrong alike": (claims(nonce="theirs", Nonce="theirs"), NONCE_WRONG),
    "the other casing null": (claims(Nonce=None), NONCE_WRONG),
    "a claim twice, different": (given_twice("nonce", "theirs"), CONTRADICTS),
    "a claim twice, alike": (given_twice("nonce", NONCE), CONTRADICTS),
    "a claim nobody reads twice": (raw(compact(CLAIMS)[:-1] + b',"a":1,"a":1}'), CONTRADICTS),
    "iat twice": (given_twice("iat", IAT), CONTRADICTS),
    # When.
    "iat stale": (claims(iat=IAT - 901), IAT_WRONG),
    "iat in the future": (claims(iat=IAT + 901), IAT_WRONG),
    "iat a fraction too old": (claims(iat=IAT - 900.001), IAT_WRONG),
    "iat text": (claims(iat=str(IAT)), IAT_WRONG),
    "iat true": (claims(iat=True), IAT_WRONG),
    "iat null": (claims(iat=None), IAT_WRONG),
    "iat list": (claims(iat=[IAT]), IAT_WRONG),
    "issuer number": (claims(iss=1), MALFORMED),
    "subject null": (claims(sub=None), MALFORMED),
    "token id a list": (claims(jti=["x"]), MALFORMED),
    "audience number": (claims(aud=1), MALFORMED),
    "audience null": (claims(aud=None), MALFORMED),
    "one audience a number": (claims(aud=["x", 1]), MALFORMED),
    "iat NaN": (claims(iat=float("nan")), MALFORMED),
    "iat infinite": (claims(iat=float("inf")), MALFORMED),
    "iat minus infinite": (claims(iat=float("-inf")), MALFORMED),
    "iat beyond every float": (claims(iat=10**400), IAT_WRONG),
    "iat in milliseconds": (claims(iat=IAT * 1000), IAT_WRONG),
    "iat beyond every calendar": (claims(iat=1e300), IAT_WRONG),
    "iat before every calendar": (claims(iat=-1e18), IAT_WRONG),
    "iat negative": (claims(iat=-1), IAT_WRONG),
    "iat zero": (claims(iat=0), IAT_WRONG),
    "exp past": (claims(exp=IAT - 901), EXP_WRONG),
    "exp past by a fraction": (claims(exp=IAT - 900.001), EXP_WRONG),
    "exp zero": (claims(exp=0), EXP_WRONG),
    "nbf ahead": (claims(nbf=IAT + 901), NBF_WRONG),
    "nbf ahead by a fraction": (claims(nbf=IAT + 900.001), NBF_WRONG),
    "nbf in milliseconds": (claims(nbf=IAT * 1000), NBF_WRONG),
    "nbf beyond every float": (claims(nbf=10**400), NBF_WRONG),
    **{f"exp {name}": (claims(exp=value), EXP_WRONG) for name, value in NO_TIMES.items()},
    **{f"nbf {name}": (claims(nbf=value), NBF_WRONG) for name, value in NO_TIMES.items()},
    "without iat, exp past": (lambda keys: token(keys.ours, {**without("iat"), "exp": IAT - 901}), EXP_WRONG),
}


def told(exc: BaseException | None) -> Iterator[str]:
    """Everything an exception and those it came from could put into a log."""
    while exc is not None:
        yield from (str(exc), repr(exc), *(str(each) for each in exc.args))
        yield str(getattr(exc, "hint", ""))
        exc = exc.__cause__ or exc.__context__


def pieces(forged: object) -> set[str]:
    """The token, and those of its parts that are long enough to be told apart from a word."""
    whole = forged.decode() if isinstance(forged, bytes) else str(forged)
    return {part for part in (whole, *whole.split(".")) if len(part) > 24}


@pytest.mark.parametrize("case", FORGED)
def test_what_aws_did_not_sign_for_this_check_has_a_stable_reason(case: str, keys: Keys) -> None:
    forge, reason = FORGED[case]
    with pytest.raises(TokenRejected) as refused:
        verify(forge(keys), keys.ours.public_key(), ASKED, NOW)
    assert refused.value.reason == reason
    assert refused.value.hint


@pytest.mark.parametrize("case", FORGED)
def test_a_refusal_tells_nothing_of_the_token(case: str, keys: Keys) -> None:
    forged = FORGED[case][0](keys)
    with pytest.raises(TokenRejected) as refused:
        verify(forged, keys.ours.public_key(), ASKED, NOW)
    said = list(told(refused.value))
    assert not [piece for piece in pieces(forged) if any(piece in each for each in said)]


GOOD: Final[dict[str, Forge]] = {
    "camelCase": claims(),
    "PascalCase": lambda keys: token(keys.ours, PASCAL),
    "both casings alike": claims(**PASCAL),
    "both casings, version once as text": claims(**{**PASCAL, "PublicKeyVersion": "1"}),
    "version as text": claims(publicKeyVersion="1"),
    "without iat": lambda keys: token(keys.ours, without("iat")),
    "iat just old enough": claims(iat=IAT - 900),
    "iat just young enough": claims(iat=IAT + 900),
    "iat with a fraction": claims(iat=IAT + 0.5),
    "exp just not past": claims(exp=IAT - 900),
    "exp ahead": claims(exp=IAT + 3600),
    "exp beyond every calendar": claims(exp=1e300),
    "exp beyond every float": claims(exp=10**400),
    "nbf just not ahead": claims(nbf=IAT + 900),
    "nbf past": claims(nbf=0),
    "exp and nbf with a fraction": claims(exp=IAT + 0.5, nbf=IAT - 0.5),
    "claims nobody asked for": claims(iss="aws", sub="s", aud=["x"], jti="y", own=[1]),
    "one audience": claims(aud="x"),
    "no audience": claims(aud=[]),
    "a header without typ": lambda keys: token(keys.ours, header={"alg": "PS256"}),
    "a kid": header(kid="1"),
    "a header with all that it may have": header(
        kid="1", cty="JWT", jku="http://a", x5u="https://a", x5t="a", x5c=["a"], jwk={"kty": "RSA"}
    ),
    "padded": padded,
    "spaces in the JSON": lambda keys: token(keys.ours, json.dumps(dict(CLAIMS), indent=2).encode()),
}


@pytest.mark.parametrize("case", GOOD)
def test_an_answer_to_this_question_is_accepted_as_aws_may_word_it(case: str, keys: Keys) -> None:
    verified = verify(GOOD[case](keys), keys.ours.public_key(), ASKED, NOW)
    assert verified.asked is ASKED
    assert verified.weak_key_bits is None


def test_there_are_forgeries_enough_and_every_documented_reason_is_given() -> None:
    assert len(FORGED) >= 30
    assert {reason for _, reason in FORGED.values()} == {
        MISSING,
        MALFORMED,
        ALGORITHM,
        SIGNATURE,
        PRODUCT,
        VERSION,
        NONCE_WRONG,
        CONTRADICTS,
        IAT_WRONG,
        EXP_WRONG,
        NBF_WRONG,
    }


def test_a_short_key_is_accepted_and_said(short_key: RSAPrivateKey) -> None:
    assert verify(token(short_key), short_key.public_key(), ASKED, NOW).weak_key_bits == 1024


def test_a_short_key_does_not_verify_for_another(short_key: RSAPrivateKey, key: RSAPrivateKey) -> None:
    with pytest.raises(TokenRejected, match="token_signature"):
        verify(token(short_key), key.public_key(), ASKED, NOW)


@pytest.mark.parametrize("times", [{"iat": IAT - 86_400 * 365}, {"exp": IAT - 86_400}, {"nbf": IAT + 86_400}])
def test_a_kept_answer_may_be_of_any_age(times: dict[str, int], key: RSAPrivateKey) -> None:
    """Its nonce binds it to the workload, which does not come back."""
    old = token(key, {**CLAIMS, **times})
    assert verify(old, key.public_key(), ASKED, None)


def test_a_fresh_answer_may_not(key: RSAPrivateKey) -> None:
    old = token(key, {**CLAIMS, "iat": IAT - 86_400 * 365})
    with pytest.raises(TokenRejected) as refused:
        verify(old, key.public_key(), ASKED, NOW)
    assert refused.value.reason == "token_iat"
    assert "2025-03-01T12:00:00Z" in refused.value.hint
    assert "2026-03-01T12:00:00Z" in refused.value.hint


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ({"exp": IAT - 86_400}, "expired at 2026-02-28T12:00:00Z"),
        ({"nbf": IAT + 86_400}, "not valid before 2026-03-02T12:00:00Z"),
        ({"nbf": 10**400}, "not valid before 9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_that_does_not_fit_is_in_the_hint(times: dict[str, int], shown: str, key: RSAPrivateKey) -> None:
    with pytest.raises(TokenRejected) as refused:
        verify(token(key, {**CLAIMS, **times}), key.public_key(), ASKED, NOW)
    assert shown in refused.value.hint
    assert "2026-03-01T12:00:00Z" in refused.value.hint


def test_the_leeway_is_fifteen_minutes() -> None:
    assert timedelta(minutes=15) == LEEWAY


def test_an_answer_for_the_asked_version_is_accepted_whatever_its_number(key: RSAPrivateKey) -> None:
    asked = replace(ASKED, public_key_version=PublicKeyVersion(12))
    assert verify(token(key, {**CLAIMS, "publicKeyVersion": 12}), key.public_key(), asked, NOW)
    with pytest.raises(TokenRejected, match="token_public_key_version"):
        verify(token(key), key.public_key(), asked, NOW)


def test_an_iat_that_no_float_can_hold_is_refused_like_the_others(key: RSAPrivateKey) -> None:
    with pytest.raises(TokenRejected, match="token_iat"):
        verify(token(key, {**CLAIMS, "iat": 10**400}), key.public_key(), ASKED, NOW)


@pytest.mark.parametrize("name", ["productCode", "publicKeyVersion", "nonce"])
def test_half_a_character_in_a_claim_is_refused_like_any_other_text(key: RSAPrivateKey, name: str) -> None:
    with pytest.raises(TokenRejected):
        verify(token(key, {**CLAIMS, name: "\ud800"}), key.public_key(), ASKED, NOW)


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_one_changed_byte_is_enough_to_be_refused(data: st.DataObject, key: RSAPrivateKey) -> None:
    """Unless base64 reads the same bytes out of it: then nothing was changed."""
    good = token(key)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.integers(0, 255).map(chr).filter(lambda each: each != good[place]))
    changed = good[:place] + other + good[place + 1 :]
    try:
        verify(changed, key.public_key(), ASKED, NOW)
    except TokenRejected:
        return
    assert [unb64(part) for part in changed.split(".")] == [unb64(part) for part in good.split(".")]


def test_the_last_bits_of_base64_cannot_be_used_to_spell_a_token_in_two_ways(key: RSAPrivateKey) -> None:
    """256 bytes leave two bits over in the last but one character."""
    good = token(key)
    last = good[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = good[:-1] + alphabet[alphabet.index(last) ^ 1]
    assert unb64(twin.split(".")[2]) == unb64(good.split(".")[2])
    with pytest.raises(TokenRejected, match="token_malformed"):
        verify(twin, key.public_key(), ASKED, NOW)


def test_a_public_key_is_read_from_pem(key: RSAPrivateKey) -> None:
    read = public_key(pem(key))
    assert read.public_numbers() == key.public_key().public_numbers()
    assert public_key(pem(key).replace("\n", "\r\n")).public_numbers() == read.public_numbers()


UNREADABLE_KEYS: Final[dict[str, Callable[[RSAPrivateKey], str]]] = {
    "empty": lambda _: "",
    "words": lambda _: "the key",
    "not ASCII": lambda key: pem(key) + "é",
    "cut short": lambda key: pem(key)[:200],
    "no lines around it": lambda key: "".join(pem(key).splitlines()[1:-1]),
    "another kind of key": lambda _: (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    ),
}


@pytest.mark.parametrize("case", UNREADABLE_KEYS)
def test_a_key_that_cannot_be_read_is_said_to_be_the_key_and_is_not_quoted(case: str, key: RSAPrivateKey) -> None:
    with pytest.raises(TokenRejected) as refused:
        public_key(UNREADABLE_KEYS[case](key))
    assert refused.value.reason == "public_key_unreadable"
    assert pem(key).splitlines()[2] not in str(refused.value) + refused.value.hint
