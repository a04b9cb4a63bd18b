"""Where the load balancer would send a request: what Google documents of a URL map's route rules, for those in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Sent:
    """`to`: the backend; `path`: with which the backend is asked. A redirect has a status instead of a backend."""

    to: str
    path: str
    status: int = 0


def resolve(url_map: Mapping[str, Any], method: str, path: str, query: str = "") -> Sent:
    [matcher] = url_map["path_matcher"]
    rules = sorted(matcher["route_rules"], key=lambda rule: rule["priority"])
    assert len({rule["priority"] for rule in rules}) == len(rules)
    for rule in rules:
        for match in rule["match_rules"]:
            if _matches(match, method, path, query):
                return _sent(rule, match, path)
    return Sent(matcher["default_service"], path)


def _matches(match: Mapping[str, Any], method: str, path: str, query: str) -> bool:
    full, prefix = match.get("full_path_match"), match.get("prefix_match")
    assert bool(full) != bool(prefix), "one of both"
    return (
        (path == full if full else path.startswith(str(prefix)))
        and all(one == {"header_name": ":method", "exact_match": method} for one in match.get("header_matches", []))
        and all(
            one["present_match"] and one["name"] in parse_qs(query, keep_blank_values=True)
            for one in match.get("query_parameter_matches", [])
        )
    )


def _sent(rule: Mapping[str, Any], match: Mapping[str, Any], path: str) -> Sent:
    for redirect in rule.get("url_redirect", []):
        return Sent("", redirect["path_redirect"], {"SEE_OTHER": 303}[redirect["redirect_response_code"]])
    for action in rule.get("route_action", []):
        for rewrite in action["url_rewrite"]:
            matched = match.get("full_path_match") or match["prefix_match"]
            return Sent(rule["service"], rewrite["path_prefix_rewrite"] + path[len(matched) :])
    return Sent(rule["service"], path)
