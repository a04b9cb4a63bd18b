"""`make explain`: the story of a call, as data and as text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infra.commands import explain
from tests.functions.test_retailcrm_deliver import Gateway
from tests.harness.enterprises import TOKEN

CUSTOMER = "375291111111"


@pytest.fixture
def gateway(function, provisioned, crm_server, sql):
    crm_server.clear()
    crm_server.account("0367")
    provisioned(domain=crm_server.url)
    return Gateway(function, sql)


def test_it_tells_what_came_what_was_decided_and_what_was_sent(gateway, process):
    from lib.ledger import story

    gateway.ring(["150", "109"])
    gateway.missed()

    told = story.tell("0367", gateway.unique_id, crm="retailcrm")

    assert [event["event_type"] for event in told["timeline"]] == ["start", "dial", "hangup"]
    assert (told["kind"], told["result"], told["owner"]) == ("in", "no answer", "150")
    assert told["rang"][0]["people"] == ["150"]
    assert "no_mapping" in [decision["code"] for decision in told["decisions"]]
    assert [(row["effect"], row["state"], len(row["attempts"])) for row in told["told"]] == [
        ("popup", "delivered", 1),
        ("hangup", "delivered", 1),
        ("upload", "delivered", 1),
    ]
    assert told["host_clock"]["lag_seconds"] is not None
    assert "key-of" not in str(told)


def test_the_reason_is_the_one_of_then_when_the_mapping_was_mended_since(
    gateway, process, function, provisioned, crm_server
):
    from lib.enterprises.cache import enterprise_cache
    from lib.ledger import story

    gateway.ring(["109"])
    provisioned(domain=crm_server.url, user_extensions={"22": "109"})
    enterprise_cache().invalidate("0367")
    while_it_rings = story.tell("0367", gateway.unique_id, crm="retailcrm")
    informed = function("retailcrm-deliver")
    assert gateway.push(gateway.take("hangup", **gateway.missed_body()), informed) == 204
    afterwards = story.tell("0367", gateway.unique_id, crm="retailcrm")

    for told in (while_it_rings, afterwards):
        assert told["rang"][0]["people"] == ["109"]  # with today's mapping
        assert [
            (one["code"], one["params"]) for one in told["decisions"] if one["code"] in {"no_mapping", "expired"}
        ] == [("no_mapping", {"numbers": ["109"]})]


def test_any_channel_of_the_call_finds_it(gateway, process):
    from lib.ledger import story

    gateway.ring()
    main, gateway.unique_id = gateway.unique_id, gateway.unique_id[:-1] + "2"
    gateway.happen(
        "bridge", Channel="SIP/151-00000001", BridgeUniqueid="b", CallerIDNum="151", ConnectedLineNum=CUSTOMER
    )
    second, gateway.unique_id = gateway.unique_id, main
    gateway.happen(
        "bridge", Channel="SIP/0001301-00000001", BridgeUniqueid="b", CallerIDNum=CUSTOMER, ConnectedLineNum="151"
    )

    assert story.tell("0367", second, crm="retailcrm")["unique_id"] == main


def test_the_command_speaks_russian_and_english(gateway, process, database_url, capsys, monkeypatch):
    gateway.ring()
    gateway.missed()
    texts = {}
    for language in ("ru", "en"):
        monkeypatch.setattr(sys, "argv", ["explain", gateway.unique_id, "--language", language])
        assert explain.main() == 0
        texts[language] = capsys.readouterr().out

    assert "Входящий звонок от +375291111111" in texts["ru"]
    assert "Incoming call from +375291111111" in texts["en"]
    assert TOKEN not in texts["ru"] + texts["en"]


def test_an_unknown_call_is_one_sentence(process, provisioned):
    provisioned()
    done = subprocess.run(
        [sys.executable, "-m", "infra.commands.explain", "1.1"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert done.stderr == "explain: Enterprise 0367 has no call with 1.1\n"


def test_a_host_whose_zone_is_wrong_is_said(gateway, provisioned, process, crm_server):
    from lib.ledger import story

    gateway.ring()
    body = gateway.missed_body()
    wrong = {name: value.replace(" ", "T") for name, value in body.items() if name in {"EndTime", "DateReceived"}}
    gateway.happen("hangup", **{**body, **wrong, "StartTime": "2020-01-01 00:00:00"})

    assert "host_zone_looks_wrong" in [
        warning["code"] for warning in story.tell("0367", gateway.unique_id, crm="retailcrm")["warnings"]
    ]
