"""`make deploy` with commands that only write down what they were asked for."""

from __future__ import annotations

import os

import pytest

from infra.commands import deploy

DIGEST = "sha256:" + "5" * 64
IMAGE = f"europe-west1-docker.pkg.dev/my-project/gateway/gateway@{DIGEST}"


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Their names, and what each prints; `fails`: the beginning of what ends with 1."""
    log = tmp_path / "log"
    script = f"""#!/bin/sh
    echo "${{0##*/}} $*" >> {log}
    case "${{0##*/}} $*" in
    *"$FAILS"*) [ -z "$FAILS" ] || {{ echo "no right to" >&2; exit 1; }} ;;
    esac
    case "${{0##*/}} $*" in
    git*rev-parse*) echo 0123456789ab ;;
    git*status*) printf '%s' "$CHANGED" ;;
    *"buckets list"*) echo other-bucket; echo "$BUCKET" ;;
    *"images describe"*) echo {DIGEST} ;;
    esac
    """
    for name in ("terraform", "gcloud", "git"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name in ("FAILS", "CHANGED", "BUCKET"):
        monkeypatch.setenv(name, "")

    def run(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name.upper(), value)
        log.write_text("")
        code = deploy.main(["--project=my-project", "--domain=telephony.example.com", *arguments])
        return code, log.read_text().splitlines()

    return run


def place(done, *words):
    [found] = [number for number, line in enumerate(done) if all(word in line for word in words)]
    return found


def test_the_schema_comes_before_the_functions_and_the_image_before_both(tools):
    code, done = tools("--yes")

    assert code == 0
    order = [
        place(
            done, "gcloud builds submit", "_IMAGE=europe-west1-docker.pkg.dev/my-project/gateway/gateway:0123456789ab"
        ),
        place(done, "terraform", "apply", f"image={IMAGE}", "-target=google_cloud_run_v2_job.job"),
        place(done, "gcloud run jobs execute roles", "--wait"),
        place(done, "gcloud run jobs execute migrate", "--wait"),
        max(number for number, line in enumerate(done) if "apply" in line),
        place(done, "terraform", "output"),
    ]
    assert order == sorted(order)
    assert "-target" not in done[order[-2]]
    assert all("-auto-approve" in line for line in done if " apply " in line)


@pytest.mark.parametrize(
    "step", ["jobs execute roles", "jobs execute migrate", "builds submit", "-target=google_cloud_run"]
)
def test_after_a_step_that_failed_no_function_is_changed(tools, capsys, step):
    code, done = tools(fails=step)

    assert code == 1
    assert step in done[-1]
    assert "nothing after it was done" in capsys.readouterr().err
    assert not [line for line in done if " apply " in line and "-target" not in line]


def test_without_yes_terraform_asks(tools):
    _, done = tools()

    assert not [line for line in done if "-auto-approve" in line]


@pytest.mark.parametrize(("bucket", "creations"), [("my-project-gateway-terraform", 0), ("", 1)])
def test_the_bucket_of_the_state_is_made_once(tools, bucket, creations):
    _, done = tools(bucket=bucket)

    assert len([line for line in done if "buckets create gs://my-project-gateway-terraform" in line]) == creations
    assert place(done, "init", "bucket=my-project-gateway-terraform")


def test_what_is_not_committed_is_not_deployed(tools, capsys):
    code, done = tools(changed=" M lib/ledger/sweep.py")

    assert (code, len(done)) == (1, 1)
    assert "commit first" in capsys.readouterr().err


def test_a_region_and_a_file_of_variables_reach_every_apply(tools, tmp_path):
    (tmp_path / "mine.tfvars").write_text('database_tier = "db-custom-8-32768"\n')

    _, done = tools("--region=europe-north1", f"--variables={tmp_path / 'mine.tfvars'}")

    applies = [line for line in done if " apply " in line]
    assert len(applies) == 3
    for line in applies:
        assert f"-var-file={tmp_path / 'mine.tfvars'}" in line
        assert "-var=region=europe-north1" in line
    assert "europe-north1-docker.pkg.dev" in done[place(done, "builds submit")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--project=My_Project", "--domain=a.example.com"], "gcloud projects list"),
        (["--project=my-project"], "DOMAIN="),
    ],
)
def test_what_cannot_be_deployed_is_said_before_anything_is_done(tools, capsys, arguments, said):
    assert deploy.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_a_missing_tool_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert deploy.main(["--project=my-project", "--domain=a.example.com"]) == 1
    assert "terraform is not installed" in capsys.readouterr().err


def test_a_dry_run_prints_the_commands_and_starts_none(tools, capsys):
    code, done = tools("--dry-run")

    assert (code, done) == (0, [])
    said = capsys.readouterr().out
    assert said.index("jobs execute migrate") < said.rindex("terraform")
    assert "/gateway:…" in said
