from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from lib.runtime import auth, config
from lib.runtime.errors import ConfigError, Forbidden, Unauthorized, Unavailable

AUDIENCE = "https://deliver.example.com/"
ACCOUNT = "pusher@project.iam.gserviceaccount.com"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def key_server():
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "1", "use": "sig", "alg": "RS256"}
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path)
            body = json.dumps({"keys": [jwk]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/certs", fetched
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def configured(key_server, monkeypatch):
    monkeypatch.setenv("PUSH_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("PUSH_SERVICE_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("PUSH_KEYS_URL", key_server[0])
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    config.current.cache_clear()
    yield monkeypatch
    config.current.cache_clear()


def token(key=KEY, *, kid="1", algorithm="RS256", **changes):
    now = int(time())
    claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "email": ACCOUNT,
        "email_verified": True,
        "iat": now,
        "exp": now + 300,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return "Bearer " + jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def test_a_push_signed_by_google_for_this_service_is_accepted(configured):
    auth.require_pubsub(token())


def test_the_keys_are_fetched_once(configured, key_server):
    auth.require_pubsub(token())
    before = len(key_server[1])

    auth.require_pubsub(token())

    assert len(key_server[1]) == before


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer ",
        "Bearer garbage",
        "Basic dXNlcjpwYXNz",
        token(OTHER_KEY),
        token(kid="2"),
        token("a-shared-secret-of-thirty-two-bytes!", algorithm="HS256"),
        token(aud="https://other.example.com/"),
        token(iss="https://issuer.example.com"),
        token(exp=int(time()) - 3600),
        token(exp=None),
        token(email="other@project.iam.gserviceaccount.com"),
        token(email_verified=False),
        token(email_verified=None),
    ],
)
def test_any_other_push_is_refused(configured, authorization):
    with pytest.raises(Unauthorized):
        auth.require_pubsub(authorization)


def without_signature(**changes):
    """As it arrives behind Cloud Run's own check."""
    return token(**changes).rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE"


@pytest.fixture
def behind_the_check(configured):
    configured.setenv("PUSH_SIGNATURE_CHECKER", "cloud-run")
    configured.setenv("K_SERVICE", "retailcrm-deliver")
    config.current.cache_clear()
    return configured


def test_a_push_whose_signature_cloud_run_checked_and_took_away_is_accepted_where_that_is_configured(behind_the_check):
    auth.require_pubsub(without_signature())


def test_with_its_signature_a_push_is_checked_there_too(behind_the_check):
    auth.require_pubsub(token())
    with pytest.raises(Unauthorized):
        auth.require_pubsub(token(OTHER_KEY))


def test_a_push_without_its_signature_is_refused_elsewhere_and_it_is_said_what_to_do(configured):
    configured.setenv("K_SERVICE", "retailcrm-deliver")
    config.current.cache_clear()

    with pytest.raises(Unauthorized, match="PUSH_SIGNATURE_CHECKER=cloud-run"):
        auth.require_pubsub(without_signature())


def test_outside_of_cloud_run_no_setting_makes_a_push_without_its_signature_believed(behind_the_check):
    behind_the_check.delenv("K_SERVICE")
    config.current.cache_clear()

    with pytest.raises(Unauthorized, match="on Cloud Run only"):
        auth.require_pubsub(without_signature())


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example.com/"},
        {"iss": "https://issuer.example.com"},
        {"exp": int(time()) - 3600},
        {"exp": None},
        {"iat": None},
        {"email": "other@project.iam.gserviceaccount.com"},
        {"email_verified": False},
    ],
    # Without the time: each worker collects at a moment of its own.
    ids=["audience", "issuer", "expired", "no expiry", "no time of issue", "somebody else", "not verified"],
)
def test_what_a_push_without_its_signature_says_is_checked_as_ever(behind_the_check, changes):
    with pytest.raises(Unauthorized):
        auth.require_pubsub(without_signature(**changes))


def test_somebody_else_cannot_be_the_checker(configured):
    configured.setenv("PUSH_SIGNATURE_CHECKER", "yes")
    config.current.cache_clear()

    with pytest.raises(ConfigError, match="gateway or cloud-run"):
        auth.require_pubsub(token())


def test_keys_that_cannot_be_fetched_give_the_push_back(configured):
    configured.setenv("PUSH_KEYS_URL", "http://127.0.0.1:9/certs")
    config.current.cache_clear()

    with pytest.raises(Unavailable):
        auth.require_pubsub(token())


def test_without_audience_and_account_every_push_is_refused(configured):
    configured.delenv("PUSH_AUDIENCE")
    config.current.cache_clear()

    with pytest.raises(Unauthorized):
        auth.require_pubsub(token())


def test_an_emulator_signs_nothing(configured):
    configured.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:8085")
    config.current.cache_clear()

    auth.require_pubsub("")


RIGHT = "r" * auth.OPERATOR_CHARACTERS


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {RIGHT}", RIGHT, f"Bearer {RIGHT}r"])
def test_the_operator_needs_the_token(monkeypatch, given):
    monkeypatch.setenv("OPERATOR_TOKEN", RIGHT)
    config.current.cache_clear()

    with pytest.raises(Forbidden):
        auth.require_operator(given)
    auth.require_operator(f"Bearer {RIGHT}")
    config.current.cache_clear()


def test_without_an_operator_token_nobody_is_the_operator(monkeypatch):
    monkeypatch.delenv("OPERATOR_TOKEN", raising=False)
    config.current.cache_clear()

    with pytest.raises(Forbidden):
        auth.require_operator("Bearer ")
    config.current.cache_clear()
