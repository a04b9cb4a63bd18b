"""What the demo promises beside its call: a number clicked in the CRM rings a phone and is dialled."""

from __future__ import annotations

import pytest
import requests

from infra.stand_ins import container_demo, demo
from lib.runtime import config, db
from lib.runtime.vault import vault
from tests.harness.servers import CRM, Asterisk


def clicked(crm: CRM, **changes):
    """What RetailCRM's simulator was answered when a manager clicked a customer's number."""
    click = {"account": "0367", "user_id": 19, "phone": "+375291111111", **changes}
    return requests.post(f"{crm.url}/_sim/click", json=click, timeout=30).json()


def dialled(asterisk: Asterisk) -> list[tuple[str, str, str, bool]]:
    return [
        (order["enterprise"], order["query"]["code"], order["query"]["phone"], order["accepted"])
        for order in asterisk.orders()
    ]


@pytest.fixture
def asterisk(stack):
    service = Asterisk(url=stack.url("asterisk-simulator"))
    service.clear()
    return service


@pytest.fixture
def inside(stack, monkeypatch):
    """As a job of the composition sees it: the functions' environment, and the services' addresses."""
    for name, value in stack.layout.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(container_demo, "GATEWAY", stack.url("gateway"))
    config.current.cache_clear()
    vault.forget()
    yield
    db.close()
    config.current.cache_clear()
    vault.forget()


def test_a_click_in_the_crm_of_the_containers_demo_dials_also_after_another_start(stack, crm, asterisk, inside):
    data = demo.enterprise(stack)
    container_demo.provide(data)
    first = clicked(crm)
    asterisk.clear()  # as after a restart of the service

    container_demo.provide(data)
    second = clicked(crm, user_id=20)

    assert (first["status"], second["status"]) == (200, 200), (first, second)
    assert dialled(asterisk) == [("0367", "152", "+375291111111", True)]


def test_a_click_in_the_crm_of_the_demo_dials_also_after_another_start(stack, crm, asterisk):
    demo.provide(stack)
    first = clicked(crm, phone="+375291111112")
    asterisk.clear()

    demo.provide(stack)
    second = clicked(crm, user_id=21, phone="+375291111112")

    assert (first["status"], second["status"]) == (200, 200), (first, second)
    assert dialled(asterisk) == [("0367", "153", "+375291111112", True)]
