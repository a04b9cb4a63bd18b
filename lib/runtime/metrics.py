"""
What this process counts and measures for Prometheus, all names in one place.

Each process counts for itself, from its start. What no process alone knows, backlogs and what came to nothing, is read
from the database when it is asked for (`lib.store.figures`). Labels have few values: a route, a code, an outcome; never
an enterprise, a number or what a stranger chose.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

REQUESTS: Final = Counter(
    "gateway_requests",
    "Requests by route and status; route none: there is nothing at this address",
    ["route", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS: Final = Histogram(
    "gateway_request_seconds",
    "From the request to its answer",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
    registry=REGISTRY,
)
EVENTS: Final = Counter(
    "gateway_events",
    "Events at intake by type and answer: stored, published (the database was away), copy, or the code of a refusal",
    ["type", "answer"],
    registry=REGISTRY,
)
POPUP_SECONDS: Final = Histogram(
    "gateway_popup_seconds",
    "From the receipt of the event that rang to the CRM's answer to the pop-up, by the database's clock",
    ["crm"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 15),
    registry=REGISTRY,
)
ATTEMPTS: Final = Counter(
    "gateway_attempts",
    "Requests to a CRM for deliveries, by effect and outcome",
    ["crm", "effect", "outcome"],
    registry=REGISTRY,
)
CLICKS: Final = Counter(
    "gateway_clicks",
    "Clicks to call by answer: called, repeat, or the code of a refusal",
    ["answer"],
    registry=REGISTRY,
)
CACHE_LOAD_SECONDS: Final = Histogram(
    "gateway_cache_load_seconds",
    "Reading one enterprise, or all, into the cache",
    ["what"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=REGISTRY,
)
TICKS: Final = Counter(
    "gateway_ticks", "Ticks that were carried out: calls and events that are due were woken", registry=REGISTRY
)
