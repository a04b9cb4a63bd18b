"""What the composition's Prometheus is started with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

START = Path(__file__).resolve().parents[2] / "infra" / "watch" / "start.sh"


@pytest.mark.parametrize(
    ("alertmanager", "told"), [("", []), ("alerts.example.com:9093", [{"targets": ["alerts.example.com:9093"]}])]
)
def test_prometheus_is_told_by_files_what_it_cannot_read_from_the_environment(tmp_path, alertmanager, told):
    program = tmp_path / "prometheus"
    program.write_text('#!/bin/sh\necho "$@"\necho "token in environment: ${OPERATOR_TOKEN-none}"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "TEMP": str(tmp_path),
        "OPERATOR_TOKEN": "a token",
        "ALERTMANAGER": alertmanager,
    }

    started = subprocess.run(["sh", START], env=environment, capture_output=True, text=True, check=True)

    assert "--config.file=/etc/prometheus/prometheus.yml" in started.stdout
    assert "token in environment: none" in started.stdout
    assert (tmp_path / "operator-token").read_text() == "a token"
    assert (tmp_path / "operator-token").stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "alertmanagers.json").read_text()) == told
