"""
Bodies that cost more than they say.

Tried: large bodies of nothing but small values, without a token, with an unknown one, with that of another enterprise;
values that become keys of caches, as long as a body allows; a recording whose address is a script. What must hold: who
it is, is known before a large body is read; an instance stays small; a live event is answered beside all of it.
"""

from __future__ import annotations

import io
import json
import time
from functools import partial

import pytest

from lib.calls import channels
from lib.calls.directory import Directory
from lib.intake import bodies
from lib.runtime.errors import TooLarge
from tests.conftest import VAULT_KEYS
from tests.functions.test_retailcrm_deliver import Gateway
from tests.harness.enterprises import TOKEN
from tests.harness.intake import Intake, together

MB = 2**20
MOST_MEMORY = 250 * MB
AT_ONCE = 8
ATTACKERS = "token-of-0368"
SMALL_VALUES = b'{"a":[' + b"{}," * 1_360_000 + b"{}]}"


@pytest.fixture
def enterprises(provisioned):
    provisioned()
    provisioned("0368", token=ATTACKERS)


@pytest.fixture
def intake(database_url, enterprises, broker, process, tmp_path):
    process.setenv("PUBSUB_EMULATOR_HOST", broker.host)
    broker.topic("call-events")
    environment = {
        "DATABASE_URL": database_url,
        "PUBSUB_EMULATOR_HOST": broker.host,
        "GOOGLE_CLOUD_PROJECT": "local",
        "VAULT_KEYS": VAULT_KEYS,
    }
    with Intake.started(environment, log=tmp_path / "intake.log") as started:
        assert started.ring(TOKEN, "1760000000.1") == 200
        yield started


@pytest.fixture
def dispatch(function, enterprises):
    return function("dispatch-call-event")


class Watched(io.BytesIO):
    """A body that knows how much of it was read at once."""

    most = 0

    def read(self, size=-1):
        found = super().read(size)
        self.most = max(self.most, len(found))
        return found


def full_batch(*, letter):
    """As many large events as fit into a batch."""
    events = [
        {"uniqueId": f"1760000000.{n}", "event_type": "start", "raw": {"Phone": "375291111111", "x": letter * 30_000}}
        for n in range(4_000_000 // (30_000 * len(letter.encode())))
    ]
    return json.dumps({"origin": "download", "events": events}, ensure_ascii=False).encode()


def beside(intake, attack):
    """The attack eight times at once, and a live event of another enterprise while it lasts."""
    ring = partial(intake.ring, TOKEN, f"{int(time.time())}.7")
    *attacks, status = together([*[attack] * AT_ONCE, ring])
    return [answer.status_code for answer in attacks], status


@pytest.mark.parametrize("token", ["", "nobody", ATTACKERS])
@pytest.mark.timeout(300)
def test_a_rain_of_small_values_takes_little_memory_and_no_event_from_others(intake, token):
    refused, ringing = beside(intake, partial(intake.post, "/dispatch/call-events", SMALL_VALUES, token=token))

    assert ringing == 200
    assert set(refused) <= {"": {413}, "nobody": {404}}.get(token, {413, 429})
    print(f"{intake.most_memory / MB:.0f} MB at most")
    assert intake.most_memory < MOST_MEMORY


@pytest.mark.parametrize("letter", ["x", "ы", "☎", "🕿"])
@pytest.mark.timeout(300)
def test_batches_as_large_as_they_may_be_take_little_memory(intake, letter):
    body = full_batch(letter=letter)

    answers, ringing = beside(intake, partial(intake.post, "/dispatch/call-events", body, token=ATTACKERS))

    assert ringing == 200
    assert set(answers) <= {200, 429}
    assert 200 in answers
    print(f"{intake.most_memory / MB:.0f} MB at most")
    assert intake.most_memory < MOST_MEMORY


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [("", 413, "too_large"), ("nobody", 404, "unknown_token"), (TOKEN, 400, "invalid_payload")],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_of_a_large_body_only_a_known_senders_is_kept(dispatch, token, status, code, chunked):
    body = Watched(b'{"events": 1, "x": "' + b"x" * 2_000_000 + b'"}')
    length = {} if chunked else {"CONTENT_LENGTH": "2000022"}
    answer = dispatch.post(
        "/dispatch/call-events",
        input_stream=body,
        headers={"Token": token} if token else {},
        environ_overrides={"wsgi.input_terminated": True, **length},
    )

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert (body.most > 2_000_000) == (token == TOKEN), "what is refused is let go of piece by piece"
    assert body.read() == b"", "nothing is left for the server to wait for"
    if not token:
        assert "header Token" in answer.json["error"]["message"]


def test_what_comes_alone_is_read_whatever_it_holds():
    alone = b'{"a":[' + b"{}," * 21_000 + b"{}]}"

    assert len(bodies.parse(alone)["a"]) == 21_001
    with pytest.raises(TooLarge, match="fewer events"):
        bodies.parse(b'{"events": ["' + b"[," * 60_000 + b'"]}')


@pytest.mark.parametrize("spelled", ["{n:>255}", "{n:0255}", "SIP/{n:0250}", "sip:{n}@" + "x" * 200])
def test_long_spellings_are_remembered_by_nobody(spelled):
    directory, before = Directory(), channels._remembered.cache_info().currsize

    for n in range(3_000):
        directory.outside(spelled.format(n=n))
        channels.channel_named(spelled.format(n=n).strip().ljust(255, "x"))

    assert sum(map(len, directory._read_before)) < 50_000
    assert channels._remembered.cache_info().currsize == before


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("https://records.example.com/1.wav", "https://records.example.com/1.wav"),
        ("javascript:alert(document.domain)", None),
        (" JaVaScRiPt:alert(1)//https://records.example.com/1.wav", None),
        ("data:text/html,<script>alert(1)</script>", None),
        ("//records.example.com/1.wav", None),
    ],
)
def test_a_recording_whose_address_is_a_script_costs_no_row_and_reaches_nobody(gateway, fresh_crm, sql, address, told):
    gateway.ring(["150"])
    main, bridge = gateway.unique_id, {"BridgeUniqueid": "77c13775-bede-4f37-886b-86a7dcf0b06a"}
    extension = {"Channel": "SIP/150-0000001e", "CallerIDNum": "150", "UniqueId": main.replace(".1", ".2"), **bridge}
    customer = {"Channel": "SIP/0001301-0000001c", "CallerIDNum": "375291111111", **bridge}
    for channel in (extension, customer):
        gateway.happen("bridge", **channel)
    for channel in (extension, customer):
        gateway.happen("bridge_leave", **channel)
    answered = {"CallStatus": "2", "Extensions": ["150"], "record_url": address}
    gateway.happen("hangup", **{**gateway.missed_body(), **answered})

    [row] = fresh_crm.rows("0367")
    assert (row["externalId"], row.get("recordUrl")) == (gateway.unique_id, told)
    assert [state for effect, state, _ in gateway.deliveries() if effect == "upload"] == ["delivered"]
    kept = "SELECT event_type FROM call_events WHERE raw_data ->> 'record_url' = %s"
    assert sql(kept, address) == [("hangup",)], "what the host sent is kept"


@pytest.fixture
def gateway(function, provisioned, fresh_crm, sql):
    fresh_crm.forget("0367")
    fresh_crm.account("0367")
    provisioned(domain=fresh_crm.url)
    return Gateway(function, sql)
