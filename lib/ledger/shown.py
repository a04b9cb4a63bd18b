"""
Who saw a pop-up that the CRM accepted: not those whom it does not know, who are told once more by their user ids.

A delivery to several people is divided, so that each row of the ledger is about people who fared alike. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lib.ledger.crm import Reply
from lib.store.deliveries import Delivery
from lib.store.notices import Part


@dataclass(frozen=True, kw_only=True)
class Division:
    """What becomes of the delivery itself, which keeps these `extensions`, and who gets deliveries of their own."""

    state: str
    reason: str | None
    extensions: Sequence[str]
    others: Sequence[Part]


def divide(delivery: Delivery, reply: Reply, users: Mapping[str, int | None]) -> Division | None:
    """
    None: everybody saw it, as far as the CRM says. `users`: the CRM's user of each extension, for the second try.
    """
    if delivery.effect != "popup" or reply.outcome != "done":
        return None
    unseen = _unseen(delivery, reply)
    if not unseen:
        return None
    known = {} if delivery.user_ids else {name: user for name in unseen if (user := users.get(name)) is not None}
    seen = [name for name in delivery.extensions if name not in unseen]
    lost = [name for name in unseen if name not in known]
    again = [Part(extensions=[*known], user_ids=[*known.values()], state="ready", reason=None)] if known else []
    if seen:
        gone = [Part(extensions=lost, user_ids=[], state="not_shown", reason="unknown_to_crm")] if lost else []
        return Division(state="delivered", reason=None, extensions=seen, others=[*again, *gone])
    if lost:
        return Division(state="not_shown", reason="unknown_to_crm", extensions=lost, others=again)
    # Everybody it was for is told in another way.
    return Division(state="superseded", reason="told_by_user_id", extensions=delivery.extensions, others=again)


def _unseen(delivery: Delivery, reply: Reply) -> list[str]:
    if delivery.user_ids:
        pairs = zip(delivery.extensions, delivery.user_ids, strict=True)
        return [name for name, user in pairs if user in reply.unknown.user_ids]
    return [name for name in delivery.extensions if name in reply.unknown.extensions]
