"""What the CRM says of an account as a whole, or of a row's owner, costs no row."""

from __future__ import annotations

import pytest

from lib.calls import explain
from lib.crms import RETAILCRM
from lib.enterprises.cache import enterprise_cache
from lib.ledger import story
from lib.ledger.deliver import deliver_due
from lib.ledger.send_rows import send_due
from lib.retailcrm import client
from lib.runtime import gate
from lib.store.rows import Lane
from tests.conftest import OPERATOR_TOKEN
from tests.functions.test_retailcrm_deliver import CUSTOMER, Gateway
from tests.harness.ledger import fill

LANE = Lane(enterprise_number="0367", crm=RETAILCRM.name)
STATES = ("unpaid", "moved", "gone", "page")


@pytest.fixture
def crm(fresh_crm):
    fresh_crm.forget("0367")
    fresh_crm.account("0367", behaviour={"telephony_per_second": 0, "other_per_second": 0})
    return fresh_crm


@pytest.fixture
def account(crm, provisioned):
    provisioned(domain=crm.url)
    return crm.url


@pytest.fixture
def connected(crm, commands, page, provisioned):
    provisioned(domain=crm.url)
    return page


@pytest.fixture
def gateway(connected, function, sql):
    return Gateway(function, sql)


def send_rows():
    send_due(LANE, crm=RETAILCRM)


def over(sql):
    """The pause, as it ends by itself."""
    sql(
        "UPDATE crm_gates SET pauses = jsonb_set(pauses, '{0367,until}', to_jsonb(now() - interval '1 second')) "
        "RETURNING account"
    )


def sizes_of(crm):
    return [len(entry["fields"]["calls"]) for entry in crm.entries("0367", "upload")]


def states(sql, effect="upload"):
    return sorted(
        sql("SELECT state, reason, count(*) FROM deliveries WHERE effect = %s GROUP BY 1, 2", effect), key=str
    )


def pause(sql):
    [(reason, refusals, seconds)] = sql(
        "SELECT pauses #>> '{0367,reason}', (pauses #>> '{0367,refusals}')::int, "
        "extract(epoch FROM (pauses #>> '{0367,until}')::timestamptz - now())::float FROM crm_gates"
    )
    return reason, refusals, seconds


@pytest.mark.parametrize("state", STATES)
def test_rows_wait_for_an_account_that_takes_nothing_and_one_finds_out(account, crm, sql, database_url, state):
    fill(database_url, "0367", 120)
    crm.change("0367", "state", state=state)

    for _ in range(3):
        send_rows()
    first = sizes_of(crm)
    waiting = states(sql)
    over(sql)
    send_rows()
    probed, paused = sizes_of(crm), pause(sql)
    crm.change("0367", "state", state="open")
    over(sql)
    send_rows()

    assert first == [50]
    assert waiting == [("ready", "account_refused", 70), ("retry", "account_refused", 50)]
    assert probed == [50, 1], "who finds out risks one row"
    assert (paused[0], paused[1]) == ("account_refused", 2)
    assert 5 < paused[2] <= 10
    assert sizes_of(crm)[2:] == [1, 50, 50, 19]
    assert states(sql) == [("delivered", None, 120)]
    assert len(crm.rows("0367")) == 120
    assert sql("SELECT pauses, failures, away_since FROM crm_gates") == [({}, 0, None)]


def test_a_row_that_a_filter_in_between_refuses_holds_nothing_up(account, crm, sql, database_url, monkeypatch):
    fill(database_url, "0367", 30)
    send = RETAILCRM.send

    def filtered(_, given, form, **options):
        if "1760000000.1" in {row["externalId"] for row in form.value}:
            return client.read(400, "<html><h1>400 Bad Request</h1></html>")
        return send(given, form, **options)

    monkeypatch.setattr(type(RETAILCRM), "send", filtered)
    send_rows()
    at_first = states(sql)
    for _ in range(3):
        over(sql)
        send_rows()

    assert at_first == [("retry", "account_refused", 30)]
    assert states(sql) == [("delivered", None, 29), ("retry", "account_refused", 1)]
    assert sql("SELECT pauses FROM crm_gates") == [({},)]
    [(aside,)] = sql("SELECT extract(epoch FROM run_at - now())::float FROM deliveries WHERE state = 'retry'")
    assert aside > gate.ACCOUNT_SECONDS[1]


def test_a_page_that_answers_every_row_with_400_costs_none(account, crm, sql, database_url):
    fill(database_url, "0367", 3)
    crm.fault("html", endpoint="upload", status=400)
    send_rows()
    for _ in range(4):
        over(sql)
        send_rows()
    waiting = states(sql)
    crm.clear()
    sql("UPDATE deliveries SET run_at = now() RETURNING 1")
    over(sql)
    send_rows()

    assert waiting == [("retry", "account_refused", 3)]
    assert states(sql) == [("delivered", None, 3)]


@pytest.mark.parametrize("state", STATES)
def test_a_pause_ends_at_once_with_another_key(  # noqa: PLR0917  (fixtures)
    account, crm, sql, database_url, provisioned, state
):
    fill(database_url, "0367", 2)
    crm.change("0367", "state", state=state)
    send_rows()
    crm.forget("0367")
    crm.account("0367", api_key="another-key")
    provisioned(domain=crm.url, api_key="another-key")
    enterprise_cache().invalidate("0367")
    sql("UPDATE deliveries SET run_at = now() RETURNING 1")
    send_rows()

    assert states(sql) == [("delivered", None, 2)]


@pytest.mark.parametrize("state", ["unpaid", "moved", "gone"])
def test_a_pop_up_waits_for_the_account_while_it_is_news(account, crm, sql, database_url, state):
    [first] = fill(database_url, "0367", 1, effect="popup")
    [second] = fill(database_url, "0367", 1, effect="popup", prefix="1760000001.")
    crm.change("0367", "state", state=state)
    deliver_due(RETAILCRM, "0367", [first])
    deliver_due(RETAILCRM, "0367", [second])
    waiting = states(sql, "popup")
    asked = len(crm.entries("0367", "event"))
    crm.change("0367", "state", state="open")
    over(sql)
    sql("UPDATE deliveries SET run_at = now() RETURNING 1")
    deliver_due(RETAILCRM, "0367", [first])
    sql("UPDATE deliveries SET expires_at = now() - interval '1 ms' WHERE call_id = %s RETURNING 1", second)
    deliver_due(RETAILCRM, "0367", [second])

    assert waiting == [("retry", "account_refused", 2)]
    assert asked == 1
    assert states(sql, "popup") == [("delivered", None, 1), ("expired", "expired", 1)]
    assert [card["shown_times"] for card in crm.cards("0367")] == [1]


def test_a_pop_up_that_a_page_answered_with_200_may_have_been_shown(account, crm, sql, database_url):
    [call] = fill(database_url, "0367", 1, effect="popup")
    crm.change("0367", "state", state="page")
    deliver_due(RETAILCRM, "0367", [call])
    crm.change("0367", "state", state="open")
    over(sql)
    deliver_due(RETAILCRM, "0367", [call])

    assert states(sql, "popup") == [("in_doubt", "in_doubt", 1)]
    assert len(crm.entries("0367", "event")) == 1


def test_a_row_that_met_402_once_is_in_the_history_a_moment_later(gateway, crm, sql):
    crm.fault("success_false", endpoint="upload", status=402, error_msg="Payment required", requests=1)
    gateway.ring()
    gateway.missed()
    waiting, paused = states(sql), pause(sql)
    over(sql)
    gateway.wake()

    assert waiting == [("retry", "account_refused", 1)]
    assert paused[2] <= 5
    assert [row["externalId"] for row in crm.rows("0367")] == [gateway.unique_id]


def test_without_telephony_rows_wait_until_the_module_is_there(account, crm, sql, database_url):
    fill(database_url, "0367", 3)
    crm.fault(
        "success_false", endpoint="upload", requests=1, error_msg="Telephony not enabled or not supports calls upload"
    )
    send_rows()
    waiting = states(sql)
    over(sql)
    send_rows()

    assert waiting == [("retry", "account_refused", 3)]
    assert states(sql) == [("delivered", None, 3)]


@pytest.mark.parametrize("state", STATES)
def test_it_is_said_that_the_account_takes_nothing(gateway, connected, crm, function, state):
    crm.change("0367", "state", state=state)
    gateway.ring()
    gateway.missed()

    stats = connected.get("stats/0367").json
    operator = function("retailcrm-upload").get("/stats", headers={"Authorization": f"Bearer {OPERATOR_TOKEN}"}).json
    [row] = [one for one in connected.get(f"calls/0367/{gateway.unique_id}").json["told"] if one["effect"] == "upload"]
    text = explain.as_text(story.tell("0367", gateway.unique_id, crm="retailcrm"), "en")
    crm.change("0367", "state", state="open")

    assert stats["connection"]["state"] == stats["attention"][0]["code"] == "account_refused"
    # What no CRM said is no quotation.
    assert bool(stats["attention"][0]["words"]) == (state not in {"moved", "page"})
    assert stats["today"]["history"]["waiting"] == 1
    [waiting] = operator["accounts"][0]["waiting"]
    assert (waiting["enterprise_number"], waiting["reason"]) == ("0367", "account_refused")
    assert (row["state"], row["reason"]) in {("retry", "account_refused"), ("ready", "account_refused")}
    assert "takes nothing from this account" in text


def test_it_is_not_said_any_more_once_the_account_takes_something(gateway, connected, crm, sql):
    crm.fault("success_false", endpoint="upload", status=402, error_msg="Payment required", requests=1)
    gateway.ring()
    gateway.missed()
    over(sql)
    gateway.wake()

    assert connected.get("stats/0367").json["connection"]["state"] == "connected"


def owned(sql, database_url, count, *, by_19=()):
    """Rows of the managers 18 and 19, whose places among them are given."""
    fill(database_url, "0367", count)
    sql(
        """UPDATE deliveries SET content = content || '{"user_id": 18}' RETURNING 1""",
    )
    for place in by_19:
        sql(
            """UPDATE deliveries SET content = content || '{"user_id": 19, "extension": "151"}'
               WHERE external_id = %s RETURNING 1""",
            f"1760000000.{place + 1}",
        )


def owners(crm):
    return {row["externalId"]: (row.get("code"), row.get("userId")) for row in crm.rows("0367")}


def test_only_the_rows_of_a_deleted_manager_go_without_owner(account, crm, sql, database_url):
    owned(sql, database_url, 50, by_19=(3, 41))
    crm.change("0367", "delete-user", user_id=19)

    send_rows()

    assert sizes_of(crm) == [50, 50]
    found = owners(crm)
    assert len(found) == 50
    assert {name for name, owner in found.items() if owner == (None, None)} == {"1760000000.4", "1760000000.42"}
    assert {owner for name, owner in found.items() if name not in {"1760000000.4", "1760000000.42"}} == {("150", 18)}
    assert states(sql) == [("delivered", "owner_refused", 2), ("delivered", None, 48)]
    assert sql("SELECT DISTINCT content ->> 'user_id' FROM deliveries WHERE is_ownerless") == [("19",)]


def test_rows_that_are_refused_for_more_than_their_owner_are_told_apart(account, crm, sql, database_url):
    owned(sql, database_url, 10, by_19=(2,))
    sql(
        """UPDATE deliveries SET content = content || '{"result": "missed"}' WHERE external_id = '1760000000.8'
           RETURNING 1"""
    )
    crm.change("0367", "delete-user", user_id=19)

    for _ in range(8):
        send_rows()

    assert states(sql) == [("delivered", "owner_refused", 1), ("delivered", None, 8), ("failed", "permanent", 1)]
    assert owners(crm)["1760000000.3"] == (None, None)


def test_a_crm_that_refuses_the_row_without_owner_too_is_not_asked_for_ever(account, crm, sql, database_url):
    owned(sql, database_url, 1)
    crm.fault("success_false", endpoint="upload", status=400, errors={"calls[0].userId": "is wrong"})

    send_rows()

    assert sizes_of(crm) == [1, 1]
    assert states(sql) == [("failed", "permanent", 1)]


@pytest.mark.parametrize(
    "errors", [{"calls[0].userId": "The selected value is not valid"}, ["calls[0].code: is nobody's"], {"userId": "x"}]
)
def test_a_row_that_was_refused_for_its_owner_once_says_that_it_has_none(gateway, connected, crm, errors):
    words = "Errors in the entity format"
    crm.fault("success_false", endpoint="upload", status=400, error_msg=words, errors=errors, requests=1)
    gateway.ring()
    gateway.missed()

    [row] = crm.rows("0367")
    assert ("code" in row, "userId" in row) == (False, False)
    drawn = connected.get(f"calls/0367/{gateway.unique_id}").json
    [told] = [one for one in drawn["told"] if one["effect"] == "upload"]
    assert (told["state"], told["reason"], told["extensions"]) == ("delivered", "owner_refused", [])
    assert len(told["attempts"]) == 2
    text = explain.as_text(story.tell("0367", gateway.unique_id, crm="retailcrm"))
    assert "CRM не приняла ответственного" in text
    assert connected.get("calls/0367", reason="owner_refused").json["calls"]
    assert connected.get("stats/0367").json["today"]["history"] == {"delivered": 1, "waiting": 0, "failed": 0}


def test_a_row_without_owner_stays_without_when_its_call_is_derived_again(gateway, crm, sql):
    crm.change("0367", "delete-user", user_id=18)
    crm.fault("ok", endpoint="upload", requests=1)
    crm.fault("error_503", endpoint="upload", requests=1)
    gateway.ring(["150"])
    gateway.missed()
    waiting = sql("SELECT state, is_ownerless FROM deliveries WHERE effect = 'upload'")
    caller = {"CallerIDNum": CUSTOMER, "ConnectedLineNum": "150"}
    gateway.happen("new_callerid", Channel="SIP/0001301-00000001", **caller)
    sql("UPDATE deliveries SET run_at = now() WHERE state = 'retry' RETURNING 1")
    gateway.wake()

    assert waiting == [("retry", True)]
    assert owners(crm) == {gateway.unique_id: (None, None)}
    assert states(sql) == [("delivered", "owner_refused", 1)]
