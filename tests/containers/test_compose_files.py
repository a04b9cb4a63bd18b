"""What docker-compose.yml, the image and `.env` promise, read from the files: no Docker is needed."""

from __future__ import annotations

import dataclasses
import json
import re
import stat

import pytest
import yaml  # type: ignore[import-untyped]

from infra import routes
from infra.commands import env
from infra.deployment import rights, topology
from infra.deployment.nginx import render
from lib.runtime import config
from tests.containers.conftest import FILES, IMAGES, ROOT

COMPOSE = yaml.safe_load((ROOT / FILES[0]).read_text())
SERVICES = COMPOSE["services"]
FUNCTIONS = {path.parent.name for path in (ROOT / "functions").glob("*/main.py")}
# What only a cloud has, or what a test sets: not of a composition.
NOT_OURS = {"PUSH_AUDIENCE", "PUSH_SERVICE_ACCOUNT", "PUSH_KEYS_URL", "PUSH_SIGNATURE_CHECKER"}


def test_every_function_has_a_service_that_runs_it():
    for function in FUNCTIONS:
        environment = SERVICES[function]["environment"]
        assert environment["FUNCTION_SOURCE"] == f"functions/{function}/main.py"
        assert environment["FUNCTION_TARGET"] == function.replace("-", "_")
    assert set(SERVICES) >= FUNCTIONS


def test_every_setting_can_be_set_in_the_environment_file():
    text = (ROOT / FILES[0]).read_text()
    settings = {field.name.upper() for section in config.SECTIONS for field in dataclasses.fields(section)}

    missing = [name for name in sorted(settings - NOT_OURS) if not re.search(rf"^\s+{name}:", text, re.MULTILINE)]
    assert missing == [], "pass them on in docker-compose.yml"


def test_pushes_go_to_every_function_that_subscribes():
    wanted = {one["function"] for one in topology.read()["subscriptions"].values()}

    for service in ("prepare", "scheduler"):
        given = dict(re.findall(r"--endpoint[= ]([a-z-]+)=(http://\S+)", " ".join(SERVICES[service]["command"])))
        assert given == {function: f"http://{function}:8080" for function in wanted}


@pytest.mark.parametrize("file", FILES)
def test_no_secret_and_no_registry_stands_in_a_file(file):
    text = (ROOT / file).read_text()

    secrets = re.findall(r"^\s*(\w*(?:SECRET|PASSWORD|TOKEN|KEYS?)): *(.*)$", text, re.MULTILINE)
    assert [name for name, value in secrets if not value.startswith("${")] == []
    images = re.findall(r"(?:image|PYTHON_IMAGE): *\$\{\w+:-([^}]+)\}", text)
    assert [name for name in images if re.match(r"[^/]*[.:][^/]*/", name)] == []


def test_a_composition_without_secrets_is_refused_by_name():
    text = (ROOT / FILES[0]).read_text()

    required = set(re.findall(r"\$\{(\w+):\?run make env first\}", text))
    of_roles = {rights.password_variable(role) for role in rights.roles()}
    others = {"POSTGRES_PASSWORD", "OPERATOR_TOKEN", "PUBLIC_URL", "VAULT_KEYS", "ACCOUNT_LINK_SECRET"}
    assert required == of_roles | others
    assert required <= {variable.name for variable in env.VARIABLES}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_restarted_or_ends_has_limits_and_a_health_check(name):
    service = SERVICES[name]

    assert service["restart"] == ("no" if name in {"prepare", "demo", "operator"} else "unless-stopped")
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert name in FUNCTIONS or "healthcheck" in service
    assert ("watch" in service.get("profiles", [])) == (name == "prometheus")
    assert ("demo" in service.get("profiles", [])) == (name in {"demo", "retailcrm-simulator", "asterisk-simulator"})


def test_the_image_is_built_from_hashes_as_somebody_without_rights():
    text = (ROOT / "infra/Dockerfile").read_text()

    assert [line for line in text.splitlines() if line.startswith("RUN pip") and "--require-hashes" not in line] == []
    assert set(re.findall(r"^USER (.+)$", text, re.MULTILINE)) == {"10001:10001"}
    assert set(re.findall(r"^ARG PYTHON_IMAGE=(.+)$", text, re.MULTILINE)) == {IMAGES["PYTHON_IMAGE"]}
    assert "HEALTHCHECK" in text
    assert "--mount" not in text, "docker-compose 1.29 builds without BuildKit"


def test_a_new_environment_file_has_fresh_secrets_for_its_owner_only(tmp_path):
    first, second = tmp_path / "first.env", tmp_path / "second.env"

    assert env.complete(first) == [variable.name for variable in env.VARIABLES]
    env.complete(second)

    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert set(re.findall(r"^\w+=(\S{12,})$", first.read_text(), re.MULTILINE)) & set(
        re.findall(r"^\w+=(\S{12,})$", second.read_text(), re.MULTILINE)
    ) <= {"http://127.0.0.1:8080", "127.0.0.1:8080"}


def test_no_inner_host_may_be_asked_as_a_crm_unless_it_is_for_the_demo(tmp_path, capsys):
    deployed, demo = tmp_path / "deployed.env", tmp_path / "demo.env"

    assert env.main([str(deployed)]) == 0
    assert env.main([str(demo), "--demo"]) == 0
    refused = env.main([str(deployed), "--demo"])

    assert "\nRETAILCRM_EXTRA_HOSTS=\n" in deployed.read_text()
    assert "\nRETAILCRM_EXTRA_HOSTS=retailcrm-simulator:8080\n" in demo.read_text()
    assert refused == 1
    assert "put RETAILCRM_EXTRA_HOSTS=retailcrm-simulator:8080 into it" in capsys.readouterr().err
    readme = (ROOT / "README.md").read_text()
    assert re.search(r"^make env DEMO=1 .*\n^docker compose --profile demo up", readme, re.MULTILINE)


def test_to_ask_for_help_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as ended:
        env.main(["--help"])

    assert ended.value.code == 0
    assert "make env" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_bodies_that_nginx_buffers_fit_into_its_tmpfs_and_its_memory():
    """A body that is still coming is kept in a buffer, then in the tmpfs, which counts as memory of the container."""
    configuration = render.render()
    buffer, connections, workers = [
        int(re.findall(rf"{name} (\d+)", configuration)[0])
        for name in ("client_body_buffer_size", "worker_connections", "worker_processes")
    ]
    zones = sum(int(size) for size in re.findall(r"zone=\w+:(\d+)m", configuration))
    [tmpfs] = [int(re.findall(r"size=(\d+)m", mount)[0]) for mount in SERVICES["gateway"]["tmpfs"]]
    limit = SERVICES["gateway"]["mem_limit"]

    headers = 17  # a buffer of 1 kB, then up to two of 8 kB
    assert "client_header_buffer_size 1k;\n    large_client_header_buffers 2 8k;" in configuration
    # A body that is a quarter larger than the buffer gets one of its own size.
    in_buffers = workers * connections * (buffer * 5 // 4 + headers) // 1024
    assert routes.LARGE_BODIES_IN_ALL * max(route.body_limit for route in routes.ROUTES) <= tmpfs * 2**20
    assert limit.endswith("m")
    assert tmpfs + in_buffers + zones + 32 <= int(limit[:-1])


def test_who_meets_whom_follows_from_what_each_does():
    """By one network that all share, whoever breaks into one part could ask the database of all."""
    on = {name: set(service["networks"]) for name, service in SERVICES.items()}
    asks_outside = {
        "retailcrm-deliver",
        "retailcrm-upload",
        "make-call",
        "smart-redirect",
        "register-module",
        "admin-api",
    }
    simulators = {"retailcrm-simulator", "asterisk-simulator"}

    assert members(on, "data") == {"postgres", "prepare", "operator", "demo", *FUNCTIONS}
    assert members(on, "messages") == {"pubsub", "prepare", "operator", "scheduler", *FUNCTIONS}
    assert members(on, "front") == {"gateway", "prometheus", *FUNCTIONS}
    assert members(on, "watch") == {"prometheus"}
    assert members(on, "entrance") == {"gateway", "tls"}
    assert members(on, "outside") == {"gateway", "demo", *simulators, *asks_outside}
    assert [on[name] for name in ("postgres", "pubsub", *simulators)] == [
        {"data"},
        {"messages"},
        {"outside"},
        {"outside"},
    ]
    assert {name for name, network in COMPOSE["networks"].items() if network.get("internal")} == {
        "data",
        "messages",
        "front",
    }


def members(on, network):
    return {name for name, networks in on.items() if network in networks}


def test_the_log_of_commands_says_who_gave_them_in_a_container_that_has_no_users():
    assert SERVICES["operator"]["environment"]["USER"] == "${USER:-}"


def test_values_of_an_environment_file_stay(tmp_path, capsys):
    path = tmp_path / ".env"
    path.write_text("POSTGRES_PASSWORD=chosen\nEXTRA=1")
    path.chmod(0o644)

    assert env.main([str(path)]) == 0
    told = capsys.readouterr().out
    complete = path.read_text()
    assert env.main([str(path)]) == 0

    assert complete.startswith("POSTGRES_PASSWORD=chosen\nEXTRA=1\n")
    assert "VAULT_KEYS" in told
    assert "POSTGRES_PASSWORD" not in told
    assert path.read_text() == complete
    assert "nothing is changed" in capsys.readouterr().out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_environment_file_that_cannot_be_written_is_named(tmp_path, capsys):
    assert env.main([str(tmp_path / "nowhere" / ".env")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_no_file_of_the_build_context_can_hold_a_secret():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert kept == ["requirements.txt", "lib", "functions", "infra"]
    assert json.loads((ROOT / "infra/stand_ins/demo.json").read_text()).keys().isdisjoint({"secret", "password"})
