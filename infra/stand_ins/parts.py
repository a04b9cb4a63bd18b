"""The parts of a stack: their ports, settings and dependencies."""

from __future__ import annotations

import http.client
import random
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infra.deployment import rights
from infra.stand_ins.postgres import Cluster
from infra.stand_ins.processes import ROOT, Command
from infra.stand_ins.rundir import Secrets

# Added to the gateway's port. A function that is not in the list follows after the last one.
OFFSETS: Final = {
    "gateway": 0,
    "retailcrm-simulator": 1,
    "asterisk-simulator": 2,
    "emulator": 3,
    "emulator-control": 4,
    "postgres": 5,
    "dispatch-call-event": 10,
    "retailcrm-deliver": 11,
    "sweep-calls": 12,
    "make-call": 13,
    "smart-redirect": 14,
    "register-module": 15,
    "admin-api": 16,
    "retailcrm-upload": 17,
    "assemble-recovered": 18,
}
PORTS_IN_ALL: Final = 40
# Of every function; `infra.stand_ins.connections` counts with it.
PLATFORM: Final = {"WORKERS": "1", "THREADS": "8"}
# Its threads wait for Asterisk services: two that hang must leave a third of them.
THREADS_OF: Final = {"make-call": "24"}
INTAKE: Final = "dispatch-call-event"
# History, and what is recovered, wait longest when the processor is short.
NICE: Final = {"retailcrm-upload": "10", "assemble-recovered": "10"}
_BASES_TO_TRY: Final = 100


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of the stack. Without `is_ready` it is a job, which is done when it has exited with 0."""

    command: Command
    is_ready: Callable[[], bool] | None
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.command.name


@dataclass(frozen=True, kw_only=True)
class Layout:
    """
    `external_emulator`: `host:port` of a Pub/Sub emulator that is used instead of ours; `settings`: environment
    variables for every part, on top of those that the stack sets; with another DATABASE_URL all parts have that one,
    and no roles are made.
    """

    run_dir: Path
    base_port: int = 8080
    external_emulator: str = ""
    sweep_interval_seconds: float = 1.0
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    functions_dir: Path = ROOT / "functions"

    def functions(self) -> list[str]:
        return sorted(path.parent.name for path in self.functions_dir.glob("*/main.py"))

    def port(self, name: str) -> int:
        further = [function for function in self.functions() if function not in OFFSETS]
        return self.base_port + (OFFSETS[name] if name in OFFSETS else 20 + further.index(name))

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port(name)}"

    def used_ports(self) -> dict[str, int]:
        """The ports that must be free, by what uses them."""
        named = ["gateway", "retailcrm-simulator", "asterisk-simulator", "postgres", *self.functions()]
        if not self.external_emulator:
            named += ["emulator", "emulator-control"]
        return {name: self.port(name) for name in named}

    def log(self, name: str) -> Path:
        return self.run_dir / "logs" / f"{name}.log"

    @property
    def emulator_host(self) -> str:
        return self.external_emulator or f"127.0.0.1:{self.port('emulator')}"

    @property
    def cluster(self) -> Cluster:
        return Cluster(data_dir=self.run_dir / "postgres", port=self.port("postgres"))

    def environment(self, role: str | None = rights.OPERATOR) -> dict[str, str]:
        """What a part needs to know that comes to the database under this role, or (None) not at all."""
        secrets = Secrets.of(self.run_dir)
        database = {"DATABASE_URL": self.cluster.url_of(role, secrets.password_of(role))} if role else {}
        return {
            **database,
            "PUBSUB_EMULATOR_HOST": self.emulator_host,
            "GOOGLE_CLOUD_PROJECT": "local",
            "VAULT_KEYS": secrets.vault_keys,
            "OPERATOR_TOKEN": secrets.operator_token,
            "ACCOUNT_LINK_SECRET": secrets.account_link_secret,
            "RETAILCRM_EXTRA_HOSTS": "127.0.0.1:*",
            "PUBLIC_URL": self.url("gateway"),
            **PLATFORM,
            **self.settings,
        }

    def job(self, name: str, module: str, *arguments: str, needs: Sequence[str] = ()) -> Part:
        command = self._command(name, module, *arguments, role=rights.OPERATOR)
        return Part(command=command, is_ready=None, needs=tuple(needs))

    def parts(self) -> list[Part]:
        """In the order in which they should get the processor: dependencies come first."""
        own_emulator = [] if self.external_emulator else ["emulator"]
        endpoints = [f"--endpoint={name}={self.url(name)}" for name in self.functions()]
        return [
            Part(command=self.cluster.command(self.log("postgres")), is_ready=self.cluster.is_ready),
            *(self._emulator() for _ in own_emulator),
            *(self._function(name) for name in self.functions()),
            *self._migration(),
            self.job("topology", "infra.deployment.topology", *endpoints, needs=own_emulator),
            self._service(
                "retailcrm-simulator", "/_sim/health", "--state", str(self.run_dir / "retailcrm-simulator.json")
            ),
            self._service("asterisk-simulator", "/health", "--state", str(self.run_dir / "asterisk-simulator.json")),
            self._gateway(),
            self._ticker(),
        ]

    def _migration(self) -> list[Part]:
        migrate = self._command("migrate", "infra.deployment.migrate", role=rights.MIGRATOR)
        if "DATABASE_URL" in self.settings:
            return [Part(command=migrate, is_ready=None, needs=("postgres",))]
        secrets, roles = Secrets.of(self.run_dir), self._command("roles", "infra.deployment.roles")
        passwords = {rights.password_variable(role): secrets.password_of(role) for role in rights.roles()}
        roles = replace(roles, env={**roles.env, "DATABASE_ADMIN_URL": self.cluster.url, **passwords})
        return [
            Part(command=roles, is_ready=None, needs=("postgres",)),
            Part(command=migrate, is_ready=None, needs=("roles",)),
        ]

    def _emulator(self) -> Part:
        control = f"--control-port={self.port('emulator-control')}"
        part = self._service("emulator", "/health", control, "--data-dir", str(self.run_dir / "emulator"))
        return Part(command=part.command, is_ready=_answering(f"{self.url('emulator-control')}/health"))

    def _function(self, name: str) -> Part:
        arguments = [
            f"--source={self.functions_dir / name / 'main.py'}",
            f"--target={name.replace('-', '_')}",
            "--host=127.0.0.1",
            f"--port={self.port(name)}",
        ]
        command = self._command(name, "functions_framework", *arguments, role=rights.role_of(name))
        if name in THREADS_OF and "THREADS" not in self.settings:
            command = replace(command, env={**command.env, "THREADS": THREADS_OF[name]})
        if name != INTAKE:
            # Hosts wait for intake and never repeat; the other functions can wait when the processor is short.
            command = replace(command, argv=["nice", "-n", NICE.get(name, "5"), *command.argv])
        return Part(command=command, is_ready=_answering(f"{self.url(name)}/health"))

    def _gateway(self) -> Part:
        arguments = [f"--upstream={name}={self.url(name)}" for name in self.functions()]
        arguments.append(f"--link=RetailCRM simulator={self.url('retailcrm-simulator')}/")
        if (ROOT / "ui").is_dir():
            arguments += [f"--ui={ROOT / 'ui'}", "--link=Settings=/retailcrm-admin/"]
        part = self._service("gateway", "/health", *arguments)
        return Part(command=part.command, is_ready=part.is_ready, needs=tuple(self.functions()))

    def _ticker(self) -> Part:
        command = self._command("ticker", "infra.stand_ins.ticker", f"--every={self.sweep_interval_seconds}")
        return Part(command=command, is_ready=lambda: True, needs=("migrate", "topology"))

    def _service(self, name: str, health: str, *arguments: str) -> Part:
        module = f"infra.stand_ins.{name.replace('-', '_')}"
        command = self._command(name, module, f"--port={self.port(name)}", *arguments)
        return Part(command=command, is_ready=_answering(self.url(name) + health))

    def _command(self, name: str, module: str, *arguments: str, role: str | None = None) -> Command:
        return Command(
            name=name,
            argv=[sys.executable, "-m", module, *arguments],
            log=self.log(name),
            env=self.environment(role),
        )


def free_base_port() -> int:
    """A base whose ports are all free at this moment, for a stack beside others."""
    for _ in range(_BASES_TO_TRY):
        base = random.randrange(20_000, 30_000, PORTS_IN_ALL)
        if all(is_free(base + offset) for offset in range(PORTS_IN_ALL)):
            return base
    raise RuntimeError("no free ports")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answering(url: str) -> Callable[[], bool]:
    address = urlsplit(url)

    def is_ready() -> bool:
        connection = http.client.HTTPConnection(address.netloc, timeout=2)
        try:
            connection.request("GET", address.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return is_ready
