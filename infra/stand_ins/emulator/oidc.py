"""
Signed pushes: the tokens that Google would attach, signed by a key of our own.

Whoever checks them takes the key set from the control port instead of from Google; everything else is the same check.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER: Final = "https://accounts.google.com"
_LIFETIME_SECONDS: Final = 3600
_RENEW_AFTER_SECONDS: Final = 1800


class Signer:
    """The key is made when it is first needed (a tenth of a second), and kept in `directory` if there is one."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / "signing-key.pem" if directory else None
        self._lock = asyncio.Lock()
        self._key: rsa.RSAPrivateKey | None = None
        self._key_id = ""
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    async def token(self, email: str, audience: str) -> str:
        known = self._tokens.get((email, audience))
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        key = await self._ready_key()
        now = int(time.time())
        subject = str(int.from_bytes(hashlib.sha256(email.encode()).digest()[:8]))
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": subject,
            "sub": subject,
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + _LIFETIME_SECONDS,
        }
        token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": self._key_id})
        self._tokens[email, audience] = (token, time.monotonic() + _RENEW_AFTER_SECONDS)
        return token

    async def key_set(self) -> dict[str, Any]:
        key = await self._ready_key()
        public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        return {"keys": [{**public, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}

    async def _ready_key(self) -> rsa.RSAPrivateKey:
        async with self._lock:
            if self._key is None:
                self._key = await asyncio.to_thread(self._load_or_make)
                public = self._key.public_key().public_bytes(
                    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                self._key_id = hashlib.sha256(public).hexdigest()[:40]
            return self._key

    def _load_or_make(self) -> rsa.RSAPrivateKey:
        if self._path is not None and self._path.exists():
            loaded = serialization.load_pem_private_key(self._path.read_bytes(), None)
            if isinstance(loaded, rsa.RSAPrivateKey):
                return loaded
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if self._path is not None:
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            draft = self._path.with_suffix(".new")
            with open(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123 - pathlib cannot set the mode at creation
                file.write(pem)
            draft.replace(self._path)
        return key
