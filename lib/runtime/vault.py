"""
API keys at rest: AES-256-GCM, bound to the enterprise that they belong to, with rotation of the key.

A ciphertext is `v1.<key id>.<base64url of nonce and sealed text>`.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lib.runtime import config
from lib.runtime.errors import ConfigError
from lib.runtime.lazy import lazy

_NONCE_BYTES = 12


class Vault:
    """`keys`: id to 32 bytes; the first one encrypts, every one decrypts."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._newest = next(iter(keys))

    def encrypt(self, text: str, *, owner: str) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, text.encode(), owner.encode())
        return f"v1.{self._newest}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, ciphertext: str, *, owner: str) -> str:
        """Raises ConfigError when the key is not among `keys`, or the text belongs to another owner."""
        version, _, rest = ciphertext.partition(".")
        key_id, _, sealed = rest.partition(".")
        if version != "v1" or key_id not in self._ciphers:
            message = f"No vault key {key_id[:16]!r}: add it to VAULT_KEYS, or save the API key again"
            raise ConfigError(message, code="key_unreadable")
        try:
            data = base64.urlsafe_b64decode(sealed)
            return self._ciphers[key_id].decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], owner.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise ConfigError("An API key cannot be decrypted: save it again", code="key_unreadable") from error

    def is_current(self, ciphertext: str) -> bool:
        """Whether the newest key sealed it."""
        return key_id_of(ciphertext) == self._newest

    @property
    def key_ids(self) -> list[str]:
        """The newest first."""
        return list(self._ciphers)


def key_id_of(ciphertext: str) -> str:
    """The id of the key that sealed it; empty for text that is no ciphertext."""
    version, _, rest = ciphertext.partition(".")
    return rest.partition(".")[0] if version == "v1" else ""


def parse_keys(text: str) -> dict[str, bytes]:
    """`id:base64,id:base64` as keys. Raises ConfigError that never shows a key."""
    keys: dict[str, bytes] = {}
    for number, item in enumerate(filter(None, text.split(",")), start=1):
        key_id, _, encoded = item.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not key_id.isalnum() or len(key) != 32:
            raise ConfigError(f"VAULT_KEYS: item {number} is not `id:base64 of 32 bytes`")
        keys[key_id] = key
    if not keys:
        raise ConfigError("VAULT_KEYS is empty")
    return keys


@lazy
def vault() -> Vault:
    return Vault(parse_keys(config.current(config.Vault).vault_keys))
