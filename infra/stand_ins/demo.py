"""The demo of `make run`: the demo enterprise in the stack, and one call."""

from __future__ import annotations

import json
from typing import Any, Final

import psycopg

from infra.stand_ins import demo_enterprise, player, rundir
from infra.stand_ins.call import CRM, Host, play_and_show
from infra.stand_ins.demo_enterprise import ADMIN_LOGIN, SCENARIO, NotTaken
from infra.stand_ins.stack import Crashed, Stack

__all__ = ["ADMIN_LOGIN", "SCENARIO", "enterprise", "play", "provide"]

_PATIENCE_SECONDS: Final = 30.0


def enterprise(stack: Stack) -> dict[str, Any]:
    return demo_enterprise.enterprise(
        crm_url=stack.url("retailcrm-simulator"),
        asterisk_url=stack.url("asterisk-simulator"),
        secret=stack.secrets.enterprise_secret,
        password=stack.secrets.admin_password,
        api_key=stack.secrets.api_key,
    )


def provide(stack: Stack) -> None:
    """
    Makes the demo enterprise and its accounts, unless they exist already; changes that were made on the page stay.
    """
    wanted = enterprise(stack)
    stored = stack.layout.run_dir / "demo.json"
    text = json.dumps(wanted, ensure_ascii=False, indent=2)
    is_there = stored.exists() and stored.read_text() == text
    try:
        demo_enterprise.put_host(wanted)
        if is_there:
            return
        pending = stored.with_name("demo.pending.json")
        rundir.write_private(pending, text)
        stack.run("provision", "infra.commands.provision", str(pending))
        with psycopg.connect(stack.database_url, connect_timeout=5) as conn:
            client_id = demo_enterprise.find_client_id(conn, wanted["number"])
        demo_enterprise.put_account(wanted, gateway=stack.url("gateway"), client_id=client_id)
    except NotTaken as refused:
        raise Crashed(str(refused)) from refused
    pending.replace(stored)


def play(stack: Stack) -> None:
    data = enterprise(stack)
    play_and_show(
        player.load()[SCENARIO],
        Host(gateway=stack.url("gateway"), token=data["token"]),
        crm=CRM(stack.url("retailcrm-simulator")),
        pause=stack.pause,
        patience_seconds=_PATIENCE_SECONDS,
    )
