"""
Writes `.env`, from which docker-compose.yml takes its secrets: `python -m infra.commands.env [FILE]`, or `make env`.
With `--demo` (`make env DEMO=1`) functions may also ask the RetailCRM simulator, which stands in an inner network. With
`--domain` (`make env DOMAIN=telephony.example.com`) the composition ends TLS itself.

The file is readable by its owner only. Values that it has stay; only missing variables are added.
"""

from __future__ import annotations

import argparse
import base64
import re
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.deployment import rights

_HEAD: Final = "# The settings of docker-compose.yml on this machine. Secrets: never commit, never mail.\n"


@dataclass(frozen=True, kw_only=True)
class Variable:
    name: str
    comment: str
    make: Callable[[], str]


def _fixed(value: str) -> Callable[[], str]:
    return lambda: value


def _of_role(role: str) -> Variable:
    # Hexadecimal, because it stands in an address.
    comment = "Of the roles of the database: one for each function, the commands, migrations" * (
        role == rights.MIGRATOR
    )
    return Variable(name=rights.password_variable(role), comment=comment, make=lambda: secrets.token_hex(16))


VARIABLES: Final = (
    Variable(
        name="PUBLIC_URL",
        comment="Where browsers and RetailCRM find the gateway: https://… in production",
        make=_fixed("http://127.0.0.1:8080"),
    ),
    Variable(name="GATEWAY_LISTEN", comment="Address and port of this machine", make=_fixed("127.0.0.1:8080")),
    Variable(
        name="POSTGRES_PASSWORD",
        comment="Of a database that is made at the first start; changing it here later does not change it there",
        make=lambda: secrets.token_hex(16),
    ),
    *map(_of_role, rights.roles()),
    Variable(
        name="VAULT_KEYS",
        comment="Encrypts the enterprises' API keys: lost with it, they must be entered anew",
        make=lambda: f"first:{base64.b64encode(secrets.token_bytes(32)).decode()}",
    ),
    Variable(name="OPERATOR_TOKEN", comment="Bearer token of operator calls", make=lambda: secrets.token_urlsafe(24)),
    Variable(
        name="ACCOUNT_LINK_SECRET",
        comment="Signs the link by which RetailCRM opens the page",
        make=lambda: secrets.token_urlsafe(32),
    ),
    Variable(
        name="RETAILCRM_EXTRA_HOSTS",
        comment="Hosts in inner networks that may be asked as a CRM: the simulator of the demo; empty in production",
        make=_fixed(""),
    ),
    Variable(
        name="DEMO_PASSWORD",
        comment="The demo profile: password of `admin`, key of the simulated CRM, secret of the enterprise",
        make=lambda: secrets.token_urlsafe(9),
    ),
    Variable(name="DEMO_API_KEY", comment="", make=lambda: secrets.token_hex(16)),
    Variable(name="DEMO_SECRET", comment="", make=lambda: secrets.token_hex(16)),
)


# Docker's own networks: from there Caddy asks the gateway.
_DOCKER_NETWORKS: Final = "172.16.0.0/12"
_HOST_NAME: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_SIMULATOR: Final = {"RETAILCRM_EXTRA_HOSTS": "retailcrm-simulator:8080"}


def of_domain(domain: str) -> tuple[Variable, ...]:
    """What a machine of its own has besides; PUBLIC_URL is among VARIABLES."""
    comment = "TLS is ended by the composition, whose proxies are believed (docs/deploy-vm.md)"
    return (
        Variable(name="DOMAIN", comment=comment, make=_fixed(domain)),
        Variable(name="COMPOSE_PROFILES", comment="", make=_fixed("tls")),
        Variable(name="TRUSTED_PROXIES", comment="", make=_fixed(_DOCKER_NETWORKS)),
    )


def complete(path: Path, *, demo: bool = False, domain: str = "") -> list[str]:
    """
    Adds the missing variables and returns their names. Takes the right to read the file from others.

    With `demo` the simulator may be asked too, with `domain` the composition ends TLS, unless the variables are there
    already.
    """
    text = path.read_text() if path.exists() else _HEAD
    given = (_SIMULATOR if demo else {}) | ({"PUBLIC_URL": f"https://{domain}"} if domain else {})
    present = set(re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", text, re.MULTILINE))
    wanted = (*VARIABLES, *(of_domain(domain) if domain else ()))
    missing = [variable for variable in wanted if variable.name not in present]
    if missing:
        lines = [
            (f"\n# {variable.comment}\n" if variable.comment else "")
            + f"{variable.name}={given.get(variable.name) or variable.make()}\n"
            for variable in missing
        ]
        write(path, text + ("" if text.endswith("\n") else "\n") + "".join(lines))
    path.chmod(0o600)
    return [variable.name for variable in missing]


def write(path: Path, text: str) -> None:
    """Replaces the file at once; it is never readable by others, not for a moment."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _domain(text: str) -> str:
    if text and not _HOST_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name like telephony.example.com")
    return text


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make env", description="Writes the settings of docker-compose.yml")
    parser.add_argument("file", nargs="?", type=Path, default=Path(".env"), metavar="FILE")
    parser.add_argument("--demo", action="store_true", help="the simulator of the demo may be asked as a CRM")
    parser.add_argument("--domain", type=_domain, default="", help="the name under which this machine is found")
    given = parser.parse_args(arguments)
    path: Path = given.file
    is_new = not path.exists()
    try:
        added = complete(path, demo=given.demo, domain=given.domain)
    except OSError as error:
        print(f"make env: {path}: {error.strerror}", file=sys.stderr)
        return 1
    except UnicodeDecodeError:
        print(f"make env: {path}: is not text", file=sys.stderr)
        return 1
    if given.demo and not all(f"{name}={host}" in path.read_text() for name, host in _SIMULATOR.items()):
        wanted = " ".join(f"{name}={host}" for name, host in _SIMULATOR.items())
        print(f"make env: {path} was there and is not of the demo: put {wanted} into it", file=sys.stderr)
        return 1
    if is_new:
        print(f"{path} is written, readable by you only. Look at PUBLIC_URL and GATEWAY_LISTEN before others use it.")
    elif added:
        print(f"{path} was there and keeps what it had; added: {', '.join(added)}")
    else:
        print(f"{path} was there and has everything: nothing is changed. Remove a line to have it made anew.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
