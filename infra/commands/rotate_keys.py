"""
Seals every API key under the first key of VAULT_KEYS: `make rotate-keys`.

It works in steps of enterprises, and may be stopped and run again at any time, beside running functions. A key that is
saved meanwhile stays as saved.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final

from infra import command
from lib.runtime import db
from lib.runtime.errors import ConfigError
from lib.runtime.vault import key_id_of, vault
from lib.store import sealed_keys
from lib.store.sealed_keys import SealedKey

STEP: Final = 100


def main() -> int:
    try:
        command.begin()
        return _rotate()
    except command.FAILURES as error:
        return command.fail("rotate-keys", f"{command.words(error)}; what is done is done, run it again")
    finally:
        db.close()


def _rotate() -> int:
    newest, *older = vault().key_ids
    unreadable = _seal_all(newest)
    for line in unreadable:
        print(f"  not readable: enterprise {line}", file=sys.stderr)
    # Counted again: a function with the old order of keys may have sealed a key under an older one meanwhile.
    used = Counter(key_id_of(key.sealed) for page in _pages() for key in page)
    needed = [key_id for key_id in older if used[key_id]]
    idle = [key_id for key_id in older if not used[key_id]]
    if needed:
        print(f"Still needed: {', '.join(f'{key_id} ({used[key_id]})' for key_id in needed)}. Run it again.")
    elif idle:
        print(f"Not needed any more: {', '.join(idle)}. Take them out of VAULT_KEYS of every function.")
    else:
        print(f"VAULT_KEYS has no older key than {newest}.")
    return 1 if unreadable or needed else 0


def _seal_all(newest: str) -> list[str]:
    """Seals each API key under the newest key of the vault; returns a line for each that cannot be read."""
    sealed = seen = 0
    unreadable: list[str] = []
    for page in _pages():
        for key in page:
            if vault().is_current(key.sealed):
                continue
            try:
                sealed += _seal(key)
            except ConfigError as error:
                unreadable.append(f"{key.enterprise_number}: {error}")
        seen += len(page)
        print(f"  {seen} looked at, {sealed} sealed under {newest}")
    print(f"{sealed} of {seen} API keys were sealed under {newest}; the others were already, or cannot be read.")
    return unreadable


def _seal(key: SealedKey) -> bool:
    """Seals the key; False when another key was saved meanwhile. Raises ConfigError."""
    number = key.enterprise_number
    again = vault().encrypt(vault().decrypt(key.sealed, owner=number), owner=number)
    with db.connection() as conn:
        return sealed_keys.replace(conn, key, again)


def _pages() -> Iterator[list[SealedKey]]:
    after = ("", "")
    while True:
        with db.connection() as conn:
            page = sealed_keys.list_sealed(conn, after=after, limit=STEP)
        if not page:
            return
        yield page
        after = page[-1].enterprise_number, page[-1].integration


if __name__ == "__main__":
    sys.exit(main())
