"""
The demo of the containers: `python -m infra.stand_ins.container_demo`, the job `demo` of docker-compose.yml.

Makes the demo enterprise and its account at the CRM simulator, plays one call through the gateway, and prints what the
CRM was told. Addresses are the services' names; an existing enterprise keeps the changes that were made on the page.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from typing import Any, Final
from urllib.parse import urlsplit

from infra import command
from infra.commands import provision
from infra.stand_ins import demo_enterprise, player
from infra.stand_ins.call import CRM, Host, play_and_show
from infra.stand_ins.demo_enterprise import NotTaken
from lib.runtime import db
from lib.runtime.errors import AppError

GATEWAY: Final = "http://gateway:8080"
CRM_SIMULATOR: Final = "http://retailcrm-simulator:8080"
ASTERISK_SIMULATOR: Final = "http://asterisk-simulator:8080"
_NEEDED: Final = (
    f"{GATEWAY}/health/dispatch-call-event",
    f"{GATEWAY}/health/retailcrm-deliver",
    f"{GATEWAY}/health/retailcrm-upload",
    f"{GATEWAY}/health/assemble-recovered",
    f"{GATEWAY}/health/sweep-calls",
    f"{CRM_SIMULATOR}/_sim/health",
    f"{ASTERISK_SIMULATOR}/health",
)
_START_SECONDS: Final = 90.0
_PATIENCE_SECONDS: Final = 30.0


class NotReady(Exception):
    """A service that a call needs does not answer."""


def main() -> int:
    secrets = {name: os.environ[f"DEMO_{name.upper()}"] for name in ("secret", "password", "api_key")}
    data = demo_enterprise.enterprise(crm_url=CRM_SIMULATOR, asterisk_url=ASTERISK_SIMULATOR, **secrets)
    try:
        command.begin()
        _wait()
        provide(data)
        played = play_and_show(
            player.load()[demo_enterprise.SCENARIO],
            Host(gateway=GATEWAY, token=data["token"]),
            crm=CRM(CRM_SIMULATOR),
            patience_seconds=_PATIENCE_SECONDS,
        )
    except (AppError, NotReady, NotTaken, OSError, http.client.HTTPException) as error:
        return command.fail("demo", error)
    finally:
        db.close()
    who = f"enterprise {data['number']}, login {demo_enterprise.ADMIN_LOGIN}, password DEMO_PASSWORD of .env"
    print(f"Sign in at {os.environ['PUBLIC_URL']}/retailcrm-admin/ with {who}")
    return 1 if played.refused else 0


def provide(data: dict[str, Any]) -> None:
    """Raises NotTaken. What exists already stays."""
    demo_enterprise.put_host(data)
    if _is_there(data["number"]):
        return
    with db.transaction() as conn:  # with an account, or not at all
        provision.provision(conn, data)
        client_id = demo_enterprise.find_client_id(conn, data["number"])
        demo_enterprise.put_account(data, gateway=os.environ["PUBLIC_URL"], client_id=client_id)


def _is_there(number: str) -> bool:
    with db.connection() as conn:
        found = conn.execute("SELECT FROM enterprises WHERE number = %s", [number]).fetchone()
    return found is not None


def _wait() -> None:
    """Raises NotReady."""
    deadline = time.monotonic() + _START_SECONDS
    for url in _NEEDED:
        while not _is_well(url):
            if time.monotonic() > deadline:
                raise NotReady(f"{url} does not answer")
            time.sleep(0.2)


def _is_well(url: str) -> bool:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=2)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
