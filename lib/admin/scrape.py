"""
`GET /metrics` of every function, for Prometheus and the operator: what this process counted (`lib.runtime.metrics`),
what its cache, its pool and its guards know, and, where it is asked for, what the database alone knows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

import psycopg
from flask import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from lib.enterprises.cache import enterprise_cache
from lib.runtime import db, guesses, metrics
from lib.runtime.auth import require_operator
from lib.runtime.errors import Unavailable
from lib.runtime.http import Answer, Handler
from lib.store import figures

Family = CounterMetricFamily | GaugeMetricFamily

# Prometheus asks every fifteen seconds and gives up after ten.
FIGURES_SECONDS: Final = 3.0
# What may be finished: those that never were are said to be none, so that a rate has a beginning.
_EFFECTS: Final = ("popup", "hangup", "upload")
_STATES: Final = ("delivered", "failed", "not_shown", "expired", "in_doubt", "superseded")


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Family]:
        return self._families


def route(*, has_figures: bool) -> Handler:
    """`has_figures`: what the database alone knows belongs to the metrics of this function, and of no other."""

    def answer(request: Request) -> Answer:
        require_operator(request.headers.get("Authorization", ""))
        families = [*_cache(), *_pool(), *_guesses(), *(_figures() if has_figures else ())]
        registry = CollectorRegistry()
        registry.register(_Families(families))
        text = generate_latest(metrics.REGISTRY) + generate_latest(registry)
        return Response(text, 200, {"Cache-Control": "no-store"}, content_type=CONTENT_TYPE_LATEST)

    return answer


def _cache() -> Iterator[Family]:
    cache = enterprise_cache()
    yield CounterMetricFamily("gateway_cache_hits", "Look-ups of enterprises that memory answered", value=cache.hits)
    yield CounterMetricFamily("gateway_cache_misses", "Look-ups that read a row", value=cache.misses)
    yield CounterMetricFamily("gateway_cache_invalidations", "Enterprises that changed", value=cache.invalidations)
    entries = cache.stats()["total_entries"]
    assert isinstance(entries, int)  # noqa: S101  (it counts)
    yield GaugeMetricFamily("gateway_cache_entries", "Enterprises in memory", value=entries)


def _pool() -> Iterator[Family]:
    stats = db.pool.made.get_stats() if db.pool.made is not None else {}
    connections = GaugeMetricFamily("gateway_pool_connections", "Connections to the database", labels=["state"])
    idle = stats.get("pool_available", 0)
    connections.add_metric(["idle"], idle)
    connections.add_metric(["used"], stats.get("pool_size", 0) - idle)
    yield connections
    waited = stats.get("requests_wait_ms", 0) / 1000
    yield CounterMetricFamily(
        "gateway_pool_asked", "Connections that were asked for", value=stats.get("requests_num", 0)
    )
    yield CounterMetricFamily("gateway_pool_waits", "Those that were waited for", value=stats.get("requests_queued", 0))
    yield CounterMetricFamily("gateway_pool_wait_seconds", "How long, in all", value=waited)
    yield CounterMetricFamily("gateway_pool_errors", "Those that did not come", value=stats.get("requests_errors", 0))
    yield CounterMetricFamily("gateway_transactions", "Transactions that were begun", value=db.queries.value)


def _guesses() -> Iterator[Family]:
    family = CounterMetricFamily(
        "gateway_guesses",
        "Secrets of strangers: wrong (different ones), refused, and right_but_refused",
        labels=["what", "result"],
    )
    for what, counts in guesses.stats().items():
        for result, count in counts.items():
            if isinstance(count, int):
                family.add_metric([what, result], count)
    yield family


def _figures() -> Iterator[Family]:
    began = time.monotonic()
    try:
        with db.connection(within_seconds=FIGURES_SECONDS) as conn:
            waiting, finished = figures.list_waiting(conn), figures.list_finished(conn)
            rejected, accounts = figures.count_rejected(conn), figures.count_accounts(conn)
    except (Unavailable, psycopg.Error):
        yield GaugeMetricFamily("gateway_figures_read", "Whether the database could be asked for the rest", value=0)
        return
    yield GaugeMetricFamily("gateway_figures_read", "Whether the database could be asked for the rest", value=1)
    yield GaugeMetricFamily("gateway_figures_seconds", "How long that took", value=time.monotonic() - began)
    yield from _waiting(waiting)
    yield _finished(finished)
    kept = GaugeMetricFamily(
        "gateway_rejected_messages", "Messages of the last day that nobody replayed", labels=["kind"]
    )
    kept.add_metric(["dead_letter"], rejected.dead_letters)
    kept.add_metric(["rejected"], rejected.others)
    yield kept
    yield from _accounts(accounts)


def _waiting(waiting: Iterable[figures.Waiting]) -> Iterator[Family]:
    counts = GaugeMetricFamily(
        "gateway_waiting", "Events that are part of no call yet, and rows of history that are not sent", labels=["lane"]
    )
    ages = GaugeMetricFamily("gateway_waiting_oldest_seconds", "How long the oldest has", labels=["lane"])
    for one in waiting:
        counts.add_metric([one.lane], one.count)
        ages.add_metric([one.lane], one.oldest_seconds)
    yield counts
    yield ages


def _finished(finished: Iterable[figures.Finished]) -> Family:
    family = GaugeMetricFamily(
        "gateway_finished_deliveries",
        f"Deliveries that were finished in the last {figures.FINISHED_SECONDS / 60:.0f} minutes",
        labels=["effect", "state"],
    )
    counts = {(effect, state): 0 for effect in _EFFECTS for state in _STATES}
    counts |= {(one.effect, one.state): one.count for one in finished}
    for labels, count in counts.items():
        family.add_metric(labels, count)
    return family


def _accounts(accounts: figures.Accounts) -> Iterator[Family]:
    family = GaugeMetricFamily(
        "gateway_accounts", "Accounts of CRMs: those that were asked, and are away", labels=["is"]
    )
    family.add_metric(["asked"], accounts.asked)
    family.add_metric(["away"], accounts.away)
    yield family
    yield GaugeMetricFamily(
        "gateway_account_away_seconds", "How long the longest has been", value=accounts.away_seconds
    )
    paused = GaugeMetricFamily(
        "gateway_paused_enterprises",
        "Enterprises whose key is refused, or whose account takes nothing",
        labels=["reason"],
    )
    for reason in ("authentication", "account_refused"):
        paused.add_metric([reason], accounts.paused.get(reason, 0))
    yield paused
    yield GaugeMetricFamily("gateway_paused_seconds", "How long the longest has been", value=accounts.paused_seconds)
