"""The digests of base images, from a Docker that knows some."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from infra.commands import env, pin

DOCKER = """#!/bin/sh
# Knows what stands in $IMAGES, one a line: image, digest.
case $1 in
pull) echo "$*" >>"$ASKED"; grep -q "^$3 " "$IMAGES" || { echo "manifest unknown" >&2; exit 1; } ;;
image) grep "^$5 " "$IMAGES" | sed 's/\\([^ ]*\\):[^ ]* \\(.*\\)/["elsewhere.example.com\\/x@sha256:0", "\\1@\\2"]/' ;;
esac
"""
TAGS = {
    "PYTHON_IMAGE": "python:3.11-slim-bookworm",
    "POSTGRES_IMAGE": "postgres:15-bookworm",
    "NGINX_IMAGE": "nginx:stable-bookworm",
    "PUBSUB_EMULATOR_IMAGE": "google/cloud-sdk:emulators",
}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images that there are."""
    (programs := tmp_path / "bin").mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    publish(tmp_path / "images", "sha256:1")
    return tmp_path / "images"


def publish(images: Path, digest: str, **tags: str) -> None:
    images.write_text("".join(f"{image} {digest}\n" for image in (TAGS | tags).values()))


def settings(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE))


def test_every_base_image_is_pinned_beside_its_tag_and_again_when_the_tag_has_moved(registry, tmp_path):
    file = tmp_path / ".env"
    env.complete(file)
    before = settings(file)

    assert pin.main([str(file)]) == 0
    first = settings(file)
    publish(registry, "sha256:2")
    assert pin.main([str(file)]) == 0
    second = settings(file)

    assert first == before | {name: f"{image}@sha256:1" for name, image in TAGS.items()}
    assert second == before | {name: f"{image}@sha256:2" for name, image in TAGS.items()}
    assert file.read_text().count("make pin") == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_image_that_ends_tls_is_pinned_where_it_is_used(registry, tmp_path):
    publish(registry, "sha256:1", CADDY_IMAGE="caddy:2")
    file = tmp_path / ".env"
    env.complete(file, domain="telephony.example.com")

    assert pin.main([str(file), "--embedded"]) == 0

    assert settings(file)["CADDY_IMAGE"] == "caddy:2@sha256:1"


def test_a_mirror_that_was_chosen_stays_chosen(registry, tmp_path):
    mirrored = "registry.example.com:5000/mirror/nginx:1.28"
    publish(registry, "sha256:1", NGINX_IMAGE=mirrored)
    file = tmp_path / ".env"
    file.write_text(f"export NGINX_IMAGE={mirrored}\nPYTHON_IMAGE=\n")

    assert pin.main([str(file), "--embedded"]) == 0

    assert file.read_text().startswith(f"export NGINX_IMAGE={mirrored}@sha256:1\nPYTHON_IMAGE={TAGS['PYTHON_IMAGE']}@")
    assert "PUBSUB_EMULATOR_IMAGE" not in file.read_text()
    assert "cloud-sdk" not in (tmp_path / "asked").read_text(), "three gigabytes for nothing"


@pytest.mark.parametrize(
    ("text", "known", "said"),
    [
        ("", "", "manifest unknown"),
        (
            "NGINX_IMAGE=registry.example.com:5000/nginx\n",
            None,
            "NGINX_IMAGE=registry.example.com:5000/nginx has no tag",
        ),
        ("NGINX_IMAGE=nginx@sha256:1\n", None, "NGINX_IMAGE=nginx has no tag"),
    ],
)
def test_nothing_is_written_unless_every_image_can_be_had(registry, tmp_path, capsys, *, text, known, said):
    if known is not None:
        registry.write_text(known)
    file = tmp_path / ".env"
    file.write_text(text)

    assert pin.main([str(file)]) == 1

    assert said in capsys.readouterr().err
    assert file.read_text() == text


def test_without_docker_or_settings_it_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / ".env").touch()

    assert pin.main([str(tmp_path / ".env")]) == 1
    assert pin.main([str(tmp_path / "none")]) == 1

    said = capsys.readouterr().err
    assert "no Docker here" in said
    assert "make env" in said


def test_the_images_that_are_pinned_are_those_of_the_composition():
    compose = pin.COMPOSE.read_text()
    ours = {"GATEWAY_IMAGE", "STAND_INS_IMAGE"}

    assert set(re.findall(r"\$\{(\w+_IMAGE):-", compose)) - ours == {*pin.BASES, pin.EMULATOR, *pin.BY_PROFILE.values()}
    assert pin.images(compose, "", names=(*pin.BASES, pin.EMULATOR)) == TAGS
