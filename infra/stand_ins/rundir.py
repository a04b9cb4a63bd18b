"""The state directory of a stack: its owner, its secrets, and the description of the running stack."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_FREE_BYTES: Final = 300 * 2**20
_DESCRIPTION: Final = "stack.json"


class StartError(Exception):
    """Something cannot start, with the reason and what to do in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Made once, kept in a file that only its owner can read."""

    vault_keys: str = field(repr=False)
    operator_token: str = field(repr=False)
    enterprise_secret: str = field(repr=False)
    admin_password: str = field(repr=False)
    api_key: str = field(repr=False)
    account_link_secret: str = field(repr=False)
    database_secret: str = field(repr=False)

    def password_of(self, role: str) -> str:
        """Of a role of the database."""
        return hmac.new(self.database_secret.encode(), role.encode(), hashlib.sha256).hexdigest()[:32]

    @classmethod
    def of(cls, run_dir: Path) -> Secrets:
        path = run_dir / "secrets.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        made = {
            "vault_keys": f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}",
            "operator_token": secrets.token_urlsafe(24),
            "enterprise_secret": secrets.token_hex(16),
            "admin_password": secrets.token_urlsafe(9),
            "api_key": secrets.token_hex(16),
            "account_link_secret": secrets.token_urlsafe(32),
            "database_secret": secrets.token_hex(32),
        }
        if not made.keys() <= kept.keys():
            kept = made | kept
            write_private(path, json.dumps(kept, indent=2))
        return cls(**kept)


@contextmanager
def owned(run_dir: Path) -> Iterator[None]:
    """
    Creates and locks the directory while inside; the lock ends with the process.

    Raises StartError when another stack has it, when it cannot be written, or when the disk is full.
    """
    try:
        # One that was there may be somebody's for something else too: only what we make in it is closed to others.
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (run_dir / "lock").touch(mode=0o600)
        lock = (run_dir / "lock").open("a+")
        free = shutil.disk_usage(run_dir).free
    except OSError as error:
        raise StartError(f"{run_dir} cannot be written ({error.strerror}): choose another RUN_DIR") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            who = f"process {lock.read().strip()}"
            message = f"A stack already runs on {run_dir} ({who}): stop it, or give this one its own RUN_DIR and PORT"
            raise StartError(message) from None
        if free < _FREE_BYTES:
            raise StartError(f"{free // 2**20} MB are free for {run_dir}, {_FREE_BYTES // 2**20} MB are needed")
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def write_description(run_dir: Path, content: dict[str, Any]) -> None:
    write_private(run_dir / _DESCRIPTION, json.dumps(content, indent=2))


def read_description(run_dir: Path) -> dict[str, Any]:
    """The description of the running stack. Raises StartError when none runs."""
    try:
        content: dict[str, Any] = json.loads((run_dir / _DESCRIPTION).read_text())
        os.kill(content["pid"], 0)
    except (FileNotFoundError, ProcessLookupError):
        raise StartError(f"No stack runs on {run_dir}: start one with `make run`") from None
    except PermissionError:
        raise StartError(f"The stack on {run_dir} belongs to another user") from None
    return content


def remove_description(run_dir: Path) -> None:
    (run_dir / _DESCRIPTION).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, readable by its owner only."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)
