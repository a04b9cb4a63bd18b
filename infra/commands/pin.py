"""
Pins the base images of docker-compose.yml: `python -m infra.commands.pin [FILE]`, or `make pin`.

A tag moves; a digest names one image for ever. Docker is asked to fetch each tag, and the digest that it got is written
into `.env` beside the tag (`POSTGRES_IMAGE=postgres:15-bookworm@sha256:…`). Running it again takes what the tags are
then. Nothing is written unless every image could be had.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from infra.commands import env

COMPOSE: Final = Path(__file__).parents[2] / "docker-compose.yml"
BASES: Final = ("PYTHON_IMAGE", "POSTGRES_IMAGE", "NGINX_IMAGE")
# Three gigabytes, and not used where the embedded emulator is.
EMULATOR: Final = "PUBSUB_EMULATOR_IMAGE"
# Where the composition ends TLS.
TLS: Final = "CADDY_IMAGE"
# Of the profile `watch`.
WATCH: Final = "PROMETHEUS_IMAGE"
BY_PROFILE: Final = {"tls": TLS, "watch": WATCH}
_HEAD: Final = "\n# Base images, with the digests that their tags had when `make pin` asked\n"
_PULL_SECONDS: Final = 1800


class NotPinned(Exception):
    """The digest of an image cannot be known, with what to do in one sentence."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make pin", description="Writes the digests of the base images into .env")
    parser.add_argument("file", nargs="?", type=Path, default=Path(".env"), metavar="FILE")
    parser.add_argument("--embedded", action="store_true", help=f"leave out {EMULATOR}: our emulator is used")
    given = parser.parse_args(arguments)
    path: Path = given.file
    try:
        text = path.read_text()
        names = (
            *BASES,
            *(() if given.embedded else (EMULATOR,)),
            *(name for profile, name in BY_PROFILE.items() if profile in _profiles(text)),
        )
        wanted = images(COMPOSE.read_text(), text, names=names)
        pinned = {name: f"{image}@{_digest(image)}" for name, image in wanted.items()}
        env.write(path, with_images(text, pinned))
    except NotPinned as error:
        print(f"make pin: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make pin: {error.filename or path}: {error.strerror}; `make env` writes {path}", file=sys.stderr)
        return 1
    for name, image in pinned.items():
        print(f"{name}={image}")
    print(f"They are in {path}. `docker compose up --build --detach` uses them.")
    return 0


def _profiles(settings: str) -> list[str]:
    return (_value(settings, "COMPOSE_PROFILES") or "").split(",")


def images(compose: str, settings: str, *, names: tuple[str, ...]) -> dict[str, str]:
    """By name, the image with its tag: from the settings, else the default. Raises NotPinned for one without a tag."""
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", compose))
    found = {name: (_value(settings, name) or defaults[name]).partition("@")[0] for name in names}
    for name, image in found.items():
        if ":" not in image.rpartition("/")[2]:
            raise NotPinned(f"{name}={image} has no tag that could be asked for: write one")
    return found


def with_images(settings: str, pinned: dict[str, str]) -> str:
    """The settings with these values, each in its old line or in a new one at the end."""
    for name, image in pinned.items():
        settings = re.sub(rf"^(\s*(?:export\s+)?{name}\s*=).*$", rf"\g<1>{image}", settings, flags=re.MULTILINE)
    missing = [name for name in pinned if _value(settings, name) is None]
    lines = "".join(f"{name}={pinned[name]}\n" for name in missing)
    return settings + ("" if settings.endswith("\n") else "\n") + (_HEAD + lines if lines else "")


def _value(settings: str, name: str) -> str | None:
    found = re.findall(rf"^\s*(?:export\s+)?{name}\s*=\s*(.*?)\s*$", settings, re.MULTILINE)
    return str(found[-1]) if found else None


def _digest(image: str) -> str:
    _docker("pull", "--quiet", image)
    known = json.loads(_docker("image", "inspect", "--format", "{{json .RepoDigests}}", image)) or []
    for one in known:
        repository, _, digest = str(one).partition("@")
        if _short(repository) == _short(image.rpartition(":")[0]):
            return digest
    raise NotPinned(f"{image} has no digest of a registry: it was built on this machine")


def _short(repository: str) -> str:
    return repository.removeprefix("docker.io/").removeprefix("library/")


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=False, timeout=_PULL_SECONDS
        )
    except FileNotFoundError:
        raise NotPinned("there is no Docker here, which would fetch the images") from None
    except subprocess.TimeoutExpired:
        raise NotPinned(f"docker {' '.join(arguments)} did not end") from None
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise NotPinned(f"docker {' '.join(arguments)}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
