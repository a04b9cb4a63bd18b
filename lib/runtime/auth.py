"""Authentication: hosts by token, the operator by bearer token, Pub/Sub by a signed identity token (OIDC)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from functools import cache

import jwt

from lib.runtime import config
from lib.runtime.errors import Forbidden, Unauthorized, Unavailable

_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
_LEEWAY_SECONDS = 60
_CLAIMS = ["exp", "iat", "aud", "iss"]
# What Cloud Run puts in place of a signature that it has checked.
_SIGNATURE_REMOVED = ".SIGNATURE_REMOVED_BY_GOOGLE"
TOKEN_DIGITS = 39
# 128 random bits in base64. A short one closes the operator's routes, and not the function: calls must be taken in.
OPERATOR_CHARACTERS = 22


def token_sha256(token: str) -> bytes:
    """
    The hash by which a host's token is looked up, so that the database's comparison leaks nothing about the token.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def random_token() -> str:
    """128 random bits for a host, which keeps nothing but the digits of what it is given."""
    least = 10 ** (TOKEN_DIGITS - 1)
    return str(least + secrets.randbelow(9 * least))


def random_client_id() -> str:
    """128 random bits for a CRM."""
    return secrets.token_hex(16)


def bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def require_operator(authorization: str) -> None:
    """
    Raises Forbidden unless the header carries OPERATOR_TOKEN; with none, or a short one, configured, every request is
    refused.
    """
    expected = config.current(config.Operator).operator_token
    given = bearer(authorization)
    if 0 < len(expected) < OPERATOR_CHARACTERS:
        raise Forbidden(
            f"Operator calls are closed: OPERATOR_TOKEN is shorter than {OPERATOR_CHARACTERS} characters; set a longer"
            " one (make env writes one)"
        )
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Forbidden("Operator calls need `Authorization: Bearer` with the operator token")


def require_pubsub(authorization: str) -> None:
    """
    Raises Unauthorized unless Google signed this push for us (RS256, audience, service account).

    Where Cloud Run checks who may call, the token arrives without its signature. Anybody can write such a token, so it
    is believed only where PUSH_SIGNATURE_CHECKER says that Cloud Run's check is on, and only on Cloud Run.

    Raises Unavailable when the keys cannot be fetched. With an emulator configured every push is accepted, because an
    emulator signs nothing; the functions then listen on loopback only.
    """
    settings = config.current(config.PushAuth)
    if settings.pubsub_emulator_host:
        return
    if not settings.push_audience or not settings.push_service_account:
        raise Unauthorized("Pushes are refused: set PUSH_AUDIENCE and PUSH_SERVICE_ACCOUNT")
    token = bearer(authorization)
    try:
        if token.endswith(_SIGNATURE_REMOVED):
            _require_check_of_cloud_run(settings)
            claims = _claims_without_signature(token, settings)
        else:
            claims = _signed_claims(token, settings)
    except jwt.PyJWKClientConnectionError as error:
        raise Unavailable("The keys that sign pushes cannot be fetched") from error
    except (jwt.PyJWTError, ValueError) as error:
        raise Unauthorized(f"The push is not signed for us: {type(error).__name__}") from error
    if claims.get("email") != settings.push_service_account or claims.get("email_verified") is not True:
        raise Unauthorized("The push is signed by another service account")


def _signed_claims(token: str, settings: config.PushAuth) -> Mapping[str, object]:
    claims: Mapping[str, object] = jwt.decode(
        token,
        _key_set(settings.push_keys_url).get_signing_key_from_jwt(token),
        algorithms=["RS256"],
        audience=settings.push_audience,
        issuer=_ISSUERS,
        leeway=_LEEWAY_SECONDS,
        options={"require": _CLAIMS},
    )
    return claims


def _require_check_of_cloud_run(settings: config.PushAuth) -> None:
    if settings.push_signature_checker != "cloud-run":
        raise Unauthorized(
            "Cloud Run took away the signature of the push, because its own check is on: switch that off"
            " (invoker_iam_disabled), or leave it on and set PUSH_SIGNATURE_CHECKER=cloud-run"
        )
    if not config.current(config.Platform).k_service:
        raise Unauthorized("A push without its signature is believed on Cloud Run only")


def _claims_without_signature(token: str, settings: config.PushAuth) -> Mapping[str, object]:
    claims: Mapping[str, object] = jwt.decode(
        token,
        audience=settings.push_audience,
        issuer=_ISSUERS,
        leeway=_LEEWAY_SECONDS,
        options={
            "verify_signature": False,
            # Without the signature PyJWT looks at none of these by itself.
            "verify_exp": True,
            "verify_iat": True,
            "verify_nbf": True,
            "verify_aud": True,
            "verify_iss": True,
            "require": _CLAIMS,
        },
    )
    return claims


@cache
def _key_set(url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(url, cache_keys=True, lifespan=3600, timeout=3)
