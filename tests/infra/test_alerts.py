"""Each alert fires for what it is about, and is over when that is: by promtool, on series of values, a minute apart."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
WATCH = ROOT / "infra" / "watch"
RULES = yaml.safe_load((WATCH / "alerts.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
FUNCTIONS = {path.parent.name for path in (ROOT / "functions").glob("*/main.py")}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)


@dataclass(frozen=True)
class Case:
    """Series with their values (promtool's notation); the minutes at which the alert fires, and at which it does not."""

    series: dict[str, str]
    fires: tuple[int, ...]
    quiet: tuple[int, ...]
    # Rules are evaluated every so many minutes: a week of minutes takes its time.
    every: int = 1


def gauge(name: str, quiet: object, bad: object) -> dict[str, str]:
    """Quiet for ten minutes, bad for half an hour, quiet again."""
    return {name: f"{quiet}x9 {bad}x29 {quiet}x40"}


GAUGE: tuple[tuple[int, ...], tuple[int, ...]] = ((30,), (5, 75))
DAY = 1440
WEEK = 7 * DAY
UP = {f'up{{job="gateway", function="{name}", instance="{name}:8080"}}': "1x80" for name in sorted(FUNCTIONS)}
DOWN = next(name for name in UP if "make-call" in name)
# A function that is not found has no series: stale from the tenth minute to the fortieth.
MISSING = {name: "1x80" if name != DOWN else "1x9 stale _x28 1x40" for name in UP}
DONE = 'gateway_attempts_total{crm="retailcrm", effect="popup", outcome="done"}'
FAILED = 'gateway_attempts_total{crm="retailcrm", effect="popup", outcome="unavailable"}'
POPUPS = 'gateway_popup_seconds_bucket{crm="retailcrm", le="%s"}'

CASES = {
    "EventsAreLost": Case({'gateway_events_total{type="dial", answer="unavailable"}': "0x9 1x70"}, (12,), (5, 30)),
    "EventsAreRefused": Case(
        {'gateway_events_total{type="dial", answer="rate_limited"}': "0x9 0+5x20 100x60"}, (25,), (5, 60)
    ),
    "NoEventsCome": Case(
        # As many a day and a week before; then none for an hour, and again.
        {'gateway_events_total{type="dial", answer="stored"}': f"0+5x{WEEK} {5 * WEEK}x60 {5 * WEEK}+5x60"},
        (WEEK + 40,),
        (WEEK - 10, WEEK + 100),
        every=10,
    ),
    "FunctionIsDown": Case(UP | {DOWN: "1x9 0x29 1x40"}, *GAUGE),
    "FunctionIsMissing": Case(MISSING, *GAUGE),
    "DatabaseIsAway": Case(gauge("gateway_figures_read", 1, 0), *GAUGE),
    "TicksStopped": Case({"gateway_ticks_total": "0+60x10 600x20 600+60x40"}, (25,), (5, 50)),
    "EventsWait": Case(gauge('gateway_waiting_oldest_seconds{lane="live"}', 1, 90), *GAUGE),
    "RecoveredEventsWait": Case(
        gauge('gateway_waiting_oldest_seconds{lane="recovered"}', 60, 3600)
        | {'gateway_waiting{lane="recovered"}': "500x80"},
        *GAUGE,
    ),
    "RowsWait": Case(gauge('gateway_waiting_oldest_seconds{lane="rows"}', 60, 90_000), (35,), (5, 75)),
    "RowsWaitTooLong": Case(gauge('gateway_waiting_oldest_seconds{lane="rows"}', 90_000, 500_000), (35,), (5, 75)),
    "RowsAreGivenUp": Case(gauge('gateway_finished_deliveries{effect="upload", state="failed"}', 0, 1), *GAUGE),
    "DeadLetters": Case(gauge('gateway_rejected_messages{kind="dead_letter"}', 0, 1), *GAUGE),
    "MessagesAreRejected": Case(gauge('gateway_rejected_messages{kind="rejected"}', 0, 1), *GAUGE),
    "PopUpsAreSlow": Case(
        {
            POPUPS % "1": "0+10x10 100x30 100+10x40",
            POPUPS % "5": "0+10x10 100+10x69",
            POPUPS % "+Inf": "0+10x10 100+10x69",
            'gateway_popup_seconds_count{crm="retailcrm"}': "0+10x79",
        },
        (30,),
        (9, 75),
    ),
    "PopUpsExpire": Case(
        gauge('gateway_finished_deliveries{effect="popup", state="expired"}', 2, 30)
        | {'gateway_finished_deliveries{effect="popup", state="delivered"}': "100x80"},
        *GAUGE,
    ),
    "PopUpsInDoubt": Case(gauge('gateway_finished_deliveries{effect="popup", state="in_doubt"}', 1, 20), *GAUGE),
    "PopUpsShownToNobody": Case(
        {'gateway_finished_deliveries{effect="popup", state="not_shown"}': "0x9 20x89 0x30"}, (90,), (5, 40, 120)
    ),
    "CRMErrorsGrow": Case(
        {DONE: f"0+10x{DAY} {10 * DAY}x30 {10 * DAY}+10x60", FAILED: f"0x{DAY} 0+10x30 300x60"},
        (DAY + 20,),
        (DAY - 5, DAY + 60),
    ),
    "ManyAccountsAreAway": Case(
        gauge('gateway_accounts{is="away"}', 1, 12) | {'gateway_accounts{is="asked"}': "50x80"}, *GAUGE
    ),
    "AccountIsAway": Case(gauge("gateway_account_away_seconds", 0, 7200), *GAUGE),
    "EnterpriseIsPaused": Case(
        gauge("gateway_paused_seconds", 0, 7200) | {'gateway_paused_enterprises{reason="authentication"}': "1x80"},
        *GAUGE,
    ),
    "ClicksFail": Case(
        {
            'gateway_clicks_total{answer="called"}': "0+2x10 20x30 20+2x40",
            'gateway_clicks_total{answer="asterisk_timeout"}': "0x10 0+2x29 60x40",
        },
        (35,),
        (5, 75),
    ),
    "CacheHitRatioFalls": Case(
        {
            "gateway_cache_hits_total": f"0+900x{DAY} {900 * DAY}+300x60 {900 * DAY + 18000}+900x90",
            "gateway_cache_misses_total": f"0+100x{DAY} {100 * DAY}+700x60 {100 * DAY + 42000}+100x90",
        },
        (DAY + 50,),
        (DAY - 5, DAY + 120),
    ),
    "PoolIsExhausted": Case({'gateway_pool_errors_total{function="make-call"}': "0x9 0+3x20 60x50"}, (20,), (5, 50)),
    "ErrorsOfOurs": Case(
        {'gateway_requests_total{function="make-call", route="GET /retailcrm/status", status="500"}': "0x9 1x70"},
        (15,),
        (5, 40),
    ),
    "TokensAreGuessed": Case(
        {'gateway_guesses_total{what="token", result="refused"}': "0x9 0+20x20 400x60"}, (25,), (5, 60)
    ),
    "RightTokenAmongGuesses": Case(
        {'gateway_guesses_total{what="token", result="right_but_refused"}': "0x9 1x70"}, (15,), (5, 45)
    ),
}


def test_every_alert_has_a_case_and_no_other_has():
    assert set(CASES) == set(ALERTS)


def test_every_alert_says_who_is_woken_and_leads_to_a_page_of_what_to_do():
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", runbook, re.MULTILINE | re.DOTALL))

    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert len(sections[name]) > 200, f"{name}: what does it mean, and what is to be done?"
    assert set(sections) >= set(ALERTS)


def test_prometheus_is_told_of_every_function():
    config = yaml.safe_load((WATCH / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]

    assert set(job["dns_sd_configs"][0]["names"]) == FUNCTIONS
    assert f"< {len(FUNCTIONS)}" in ALERTS["FunctionIsMissing"]["expr"]


@needs_promtool
def test_prometheus_reads_the_rules():
    checked = subprocess.run(
        ["promtool", "check", "rules", WATCH / "alerts.yml"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_the_alert_fires_and_is_over(name, tmp_path):
    case = CASES[name]
    firing = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    content = {
        "rule_files": [str(WATCH / "alerts.yml")],
        "evaluation_interval": f"{case.every}m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in case.series.items()],
                "promql_expr_test": [
                    {
                        "expr": firing,
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if minute in case.fires else [],
                    }
                    for minute in sorted((*case.fires, *case.quiet))
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(content))

    tested = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)

    assert tested.returncode == 0, tested.stdout + tested.stderr
