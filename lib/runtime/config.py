"""
Settings of a process, read from the environment once, typed, every problem in one message.

Each section is a frozen dataclass; a field `database_url` is the variable DATABASE_URL. A function loads the sections
that it uses, so it can be deployed with only the secrets that it needs.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from lib.runtime.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Database:
    """
    `database_pool_mode`: `session`, or `transaction` when DATABASE_URL is a pooler that gives a connection away after
    each transaction (docs/decisions/0011-poolers.md). `database_listen_url`: the server itself, for LISTEN and
    migrations; empty means DATABASE_URL.
    """

    database_url: str = field(repr=False)
    database_listen_url: str = field(default="", repr=False)
    database_pool_mode: str = "session"
    database_pool_size: int = 8
    database_pool_timeout_seconds: float = 1.0
    database_statement_timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.database_pool_mode not in {"session", "transaction"}:
            raise ConfigError("DATABASE_POOL_MODE must be session or transaction")
        if self.is_pooled and not self.database_listen_url:
            raise ConfigError(
                "DATABASE_POOL_MODE=transaction needs DATABASE_LISTEN_URL, the address of the server itself"
            )

    @property
    def session_url(self) -> str:
        """Where a connection is a session of its own."""
        return self.database_listen_url or self.database_url

    @property
    def is_pooled(self) -> bool:
        """DATABASE_URL leads to a pooler, where no setting outlives a transaction."""
        return self.database_pool_mode == "transaction"


@dataclass(frozen=True, kw_only=True)
class Platform:
    """
    Set by whoever runs the process, no setting of ours: no section of SECTIONS. `threads`: 0 if not said. `k_service`:
    the name of the service, on Cloud Run.
    """

    threads: int = 0
    k_service: str = ""


@dataclass(frozen=True, kw_only=True)
class PubSub:
    google_cloud_project: str
    pubsub_emulator_host: str = ""
    pubsub_publish_timeout_seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PushAuth:
    """
    The identity that may push. It is not checked with an emulator configured, which signs nothing.

    `push_signature_checker`: `gateway`, or `cloud-run` where Cloud Run's own check is on: it takes the signature away.
    """

    pubsub_emulator_host: str = ""
    push_audience: str = ""
    push_service_account: str = ""
    push_keys_url: str = "https://www.googleapis.com/oauth2/v3/certs"
    push_signature_checker: str = "gateway"

    def __post_init__(self) -> None:
        if self.push_signature_checker not in {"gateway", "cloud-run"}:
            raise ConfigError("PUSH_SIGNATURE_CHECKER must be gateway or cloud-run")


@dataclass(frozen=True, kw_only=True)
class Operator:
    operator_token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Vault:
    """`vault_keys`: `id:base64 of 32 bytes`, comma separated; the first encrypts, all decrypt."""

    vault_keys: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class EnterpriseCache:
    enterprise_cache_ttl_seconds: float = 90.0
    enterprise_cache_refresh_min_seconds: float = 180.0
    enterprise_cache_refresh_max_seconds: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Intake:
    """
    What one enterprise may post to one instance; 0: no limit. `intake_batches_at_once`: of all enterprises, and never
    more than a quarter of THREADS.
    """

    intake_events_per_second: int = 200
    intake_bytes_per_second: int = 1_000_000
    intake_batches_at_once: int = 2


@dataclass(frozen=True, kw_only=True)
class RetailCRM:
    """`retailcrm_extra_hosts`: `host:port` patterns (`127.0.0.1:*`) of simulators, comma separated."""

    retailcrm_extra_hosts: str = ""
    retailcrm_event_timeout_seconds: float = 3.0
    retailcrm_upload_timeout_seconds: float = 15.0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits of the requests of all instances together to one account of RetailCRM; 0: no limit."""

    retailcrm_telephony_per_second: int = 40
    retailcrm_other_per_second: int = 10
    retailcrm_deliveries_at_once: int = 4


@dataclass(frozen=True, kw_only=True)
class Asterisk:
    asterisk_timeout_seconds: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """Limits of click-to-calls that begin within a minute."""

    clicks_per_manager_per_minute: int = 20
    clicks_per_enterprise_per_minute: int = 120


@dataclass(frozen=True, kw_only=True)
class SmartRedirect:
    """
    `smart_redirect_workers`: the number of questions under way at a time; less than THREADS, so that some threads stay
    free.
    """

    smart_redirect_budget_ms: int = 1000
    smart_redirect_workers: int = 6


@dataclass(frozen=True, kw_only=True)
class Public:
    """Where browsers and RetailCRM find the gateway, as `https://telephony.example.com`."""

    public_url: str


@dataclass(frozen=True, kw_only=True)
class Proxies:
    """
    `trusted_proxies`: networks (`10.0.0.0/8`, comma separated) of the proxies in front of our gateway, which append to
    X-Forwarded-For. The gateway itself is always trusted.
    """

    trusted_proxies: str = ""

    def __post_init__(self) -> None:
        try:
            self._networks  # noqa: B018  (read once, so that a mistake is told at the start)
        except ValueError as error:
            raise ConfigError(f"TRUSTED_PROXIES: {error}") from None

    def includes(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    @cached_property
    def _networks(self) -> list[IPv4Network | IPv6Network]:
        return [ip_network(part.strip()) for part in self.trusted_proxies.split(",") if part.strip()]


@dataclass(frozen=True, kw_only=True)
class AccountLink:
    """`account_link_secret`: at least 32 bytes; it signs the link by which RetailCRM opens the page."""

    account_link_secret: str = field(repr=False)
    account_link_days: int = 365


@dataclass(frozen=True, kw_only=True)
class Sessions:
    session_idle_minutes: int = 30
    session_absolute_hours: int = 12


@dataclass(frozen=True, kw_only=True)
class Module:
    """
    The integration module as RetailCRM knows it; `module_code` is the common beginning of the codes of all enterprises.
    """

    module_code: str = "vochi-telephony"
    module_name: str = "Vochi-CRM"


# Pub/Sub may redeliver an event for this long; the key that identifies the copy must still be stored.
KEY_DAYS: typing.Final = 31
_LEAST_DAYS: typing.Final = {
    "retention_events_days": 3,  # a call may last two days
    "retention_calls_days": KEY_DAYS,  # the keys of events are deleted with their call
    "retention_attempts_days": 8,  # the delivery of a history row is retried for seven days
}


@dataclass(frozen=True, kw_only=True)
class Retention:
    """
    Days for which data is kept. `events`: the events as the hosts sent them; `calls`: the calls, their deliveries, and
    the keys by which copies of events are recognised.
    """

    retention_events_days: int = 90
    retention_calls_days: int = 400
    retention_attempts_days: int = 90
    retention_logs_days: int = 180
    retention_rejected_days: int = 90
    retention_clicks_days: int = 90
    retention_sessions_days: int = 30
    retention_commands_days: int = 180
    retention_replays_days: int = 400

    def __post_init__(self) -> None:
        problems = [
            f"{spec.name.upper()} must be {least} or more"
            for spec in dataclasses.fields(self)
            if getattr(self, spec.name) < (least := _LEAST_DAYS.get(spec.name, 1))
        ]
        if self.retention_calls_days < self.retention_events_days:
            problems.append("RETENTION_CALLS_DAYS must not be less than RETENTION_EVENTS_DAYS")
        if problems:
            raise ConfigError("; ".join(problems))


T = typing.TypeVar("T")


def load(section: type[T], environ: Mapping[str, str] | None = None) -> T:
    """
    The section filled from the environment.

    Raises ConfigError that names every variable that is missing or has a wrong form.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251  (the one place)
    hints = typing.get_type_hints(section)
    values: dict[str, object] = {}
    problems: list[str] = []
    for spec in dataclasses.fields(section):  # type: ignore[arg-type]  # sections are dataclasses
        name = spec.name.upper()
        text = environ.get(name, "")
        if not text:
            if spec.default is dataclasses.MISSING:
                problems.append(f"{name} is not set")
            continue
        try:
            values[spec.name] = _convert(text, hints[spec.name])
        except ValueError:
            problems.append(f"{name} is not a valid {hints[spec.name].__name__}")
    if problems:
        raise ConfigError("; ".join(problems))
    return section(**values)


def require(*sections: type) -> None:
    """
    Loads these sections, so that a function that needs them does not start without. Raises ConfigError with every
    problem.
    """
    problems: list[str] = []
    for section in sections:
        try:
            load(section)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))


@cache
def current(section: type[T]) -> T:
    """The section of this process, read on first use."""
    return load(section)


def _convert(text: str, wanted: type) -> object:
    return wanted(text)


SECTIONS = (
    Database,
    PubSub,
    PushAuth,
    Operator,
    Vault,
    EnterpriseCache,
    Intake,
    RetailCRM,
    Gate,
    Asterisk,
    Clicks,
    SmartRedirect,
    Public,
    Proxies,
    AccountLink,
    Sessions,
    Module,
    Retention,
)
