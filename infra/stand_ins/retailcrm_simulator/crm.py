"""The simulator's whole state, and the only code that changes and stores it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final, Literal

from infra.stand_ins.retailcrm_simulator.accounts import Account, Accounts, restored, snapshot
from infra.stand_ins.retailcrm_simulator.board import Board
from infra.stand_ins.retailcrm_simulator.decision import Decision
from infra.stand_ins.retailcrm_simulator.faults import FaultBook
from infra.stand_ins.retailcrm_simulator.ledger import Entry, Ledger
from infra.stand_ins.retailcrm_simulator.rates import SlidingSecond
from infra.stand_ins.retailcrm_simulator.state import StateFile
from infra.stand_ins.retailcrm_simulator.wire import MODES

Share = Literal["telephony", "other"]
SHARES: Final[tuple[Share, ...]] = ("telephony", "other")


class CRM:
    def __init__(self, state: StateFile, kinds: tuple[str, ...]) -> None:
        self.accounts = Accounts()
        self.board = Board()
        self.faults = FaultBook(modes=MODES, endpoints=("other", *kinds), owner="account")
        self.ledger = Ledger()
        self.started_at = time.time()
        self._rates: dict[tuple[str, Share], SlidingSecond] = {}
        self._state = state

    def open(self) -> None:
        """Takes up what the state file has. Raises OSError, or whatever a foreign file makes of it."""
        entries: list[Entry] = []
        for record in self._state.read():
            match record.get("record"):
                case "account":
                    self.accounts.put(restored(record["account"]))
                case "account_removed":
                    self.accounts.remove(record["name"])
                case "request":
                    entries.append(Entry.from_json(record["entry"]))
                    self.board.fold(entries[-1])
                case "cleared":
                    entries = [entry for entry in entries if record["account"] not in {None, entry.account}]
                    self.board.clear(record["account"])
        self.ledger.restore(entries)
        self._state.open()

    def close(self) -> None:
        self._state.close()

    def put_account(self, account: Account) -> bool:
        """
        True when it is new. An account that is there already keeps its modules and its users' statuses.

        Raises InvalidInput.
        """
        known = self.accounts.named(account.name)
        if known is not None:
            statuses = {user.id: user.status for user in known.users}
            users = tuple(replace(user, status=statuses.get(user.id, user.status)) for user in account.users)
            account = replace(account, users=users, modules=known.modules or account.modules)
        self.replace_account(account)
        return known is None

    def replace_account(self, account: Account) -> None:
        """Raises InvalidInput."""
        self.accounts.put(account)
        self._state.append({"record": "account", "account": snapshot(account)})

    def remove_account(self, name: str) -> bool:
        removed = self.accounts.remove(name)
        if removed:
            self._state.append({"record": "account_removed", "name": name})
        return removed

    def admit(self, account: Account, share: Share) -> bool:
        behaviour = account.behaviour
        limit = behaviour.telephony_per_second if share == "telephony" else behaviour.other_per_second
        return self.rate(account.name, share).admit(time.monotonic(), limit)

    def rate(self, account: str, share: Share) -> SlidingSecond:
        return self._rates.setdefault((account, share), SlidingSecond())

    def apply(self, entry: Entry, decision: Decision) -> None:
        if decision.applied is not None:
            entry.applied, entry.applied_at = decision.applied, time.time()
        if decision.account is not None:
            self.replace_account(decision.account)

    def decided(self, entry: Entry) -> None:
        """Marks the entry as complete: its effect is visible from now on."""
        self.board.fold(entry)
        self._state.append({"record": "request", "entry": entry.as_json()})
        self.ledger.announce(entry)

    def clear(self, account: str | None) -> None:
        """Forgets what was told; accounts stay."""
        self.ledger.clear(account)
        self.board.clear(account)
        for (name, _), rate in self._rates.items():
            if account in {None, name}:
                rate.forget()
        self._state.append({"record": "cleared", "account": account})
