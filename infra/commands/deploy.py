"""
Deploys to a project of Google Cloud: `make deploy PROJECT=my-project DOMAIN=telephony.example.com`
(docs/deploy-cloud.md).

Builds the image of the present commit, makes what the database needs, runs its roles and migrations, and only then lets
Terraform change the functions: instances of the version before run on the new schema meanwhile. It asks before each
change, may be run again at any time, and goes on where it was. `--dry-run` prints the commands.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra import command
from lib.runtime.errors import ConfigError

ROOT: Final = Path(__file__).parents[2]
CLOUD: Final = ROOT / "infra" / "cloud"
DEFAULT_REGION: Final = "europe-west1"
_DEPLOYED: Final = ("requirements.txt", "lib", "functions", "infra", "ui")
# Of the first apply, before there is one, and of a dry run.
NO_IMAGE: Final = "none"
_APIS: Final = (
    "artifactregistry",
    "cloudbuild",
    "cloudresourcemanager",
    "cloudscheduler",
    "compute",
    "iam",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "servicenetworking",
    "sqladmin",
)

Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """`variables`: a .tfvars file for whatever differs from infra/cloud/variables.tf."""

    project: str
    region: str = DEFAULT_REGION
    domain: str = ""
    variables: Path | None = None
    is_agreed: bool = False

    @property
    def state(self) -> str:
        return f"{self.project}-gateway-terraform"

    def image(self, commit: str) -> str:
        return f"{self.region}-docker.pkg.dev/{self.project}/gateway/gateway:{commit}"

    def terraform(self, *arguments: str) -> list[str]:
        return ["terraform", f"-chdir={CLOUD}", *arguments]

    def apply(self, image: str, *targets: str) -> list[str]:
        given = {"project": self.project, "region": self.region, "domain": self.domain, "image": image}
        return self.terraform(
            "apply",
            *([f"-var-file={self.variables.resolve()}"] if self.variables else []),
            *(f"-var={name}={value}" for name, value in given.items() if value),
            *(f"-target={target}" for target in targets),
            *(["-auto-approve"] if self.is_agreed else []),
        )

    def gcloud(self, *arguments: str) -> list[str]:
        return ["gcloud", *arguments, f"--project={self.project}", "--quiet"]

    def job(self, name: str) -> list[str]:
        return self.gcloud("run", "jobs", "execute", name, f"--region={self.region}", "--wait")


def prepare(of: Deployment, run: Run, ask: Run) -> None:
    """The services of Google that are used, the bucket of Terraform's state, and the registry of images."""
    run(of.gcloud("services", "enable", *(f"{name}.googleapis.com" for name in _APIS)))
    buckets = ask(of.gcloud("storage", "buckets", "list", "--format=value(name)"))
    if of.state not in buckets.split():
        bucket = f"gs://{of.state}"
        create = ("--uniform-bucket-level-access", "--public-access-prevention", f"--location={of.region}")
        run(of.gcloud("storage", "buckets", "create", bucket, *create))
        run(of.gcloud("storage", "buckets", "update", bucket, "--versioning"))
    run(of.terraform("init", "-reconfigure", "-input=false", f"-backend-config=bucket={of.state}"))
    run(of.apply(NO_IMAGE, "google_artifact_registry_repository.images"))


def build(of: Deployment, run: Run, ask: Run) -> str:
    """The image of the present commit, by its digest: what runs is what was built."""
    image = of.image(ask(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]).strip())
    config = f"--config={CLOUD / 'build.yaml'}"
    run(of.gcloud("builds", "submit", str(ROOT), config, f"--substitutions=_IMAGE={image}"))
    describe = ("artifacts", "docker", "images", "describe", image, "--format=value(image_summary.digest)")
    digest = ask(of.gcloud(*describe)).strip()
    return f"{image.rpartition(':')[0]}@{digest}"


def release(of: Deployment, image: str, run: Run) -> None:
    """The database and its jobs, the schema, then the functions."""
    run(of.apply(image, "google_cloud_run_v2_job.job"))
    run(of.job("roles"))
    run(of.job("migrate"))
    run(of.apply(image))
    run(of.terraform("output"))


def check(of: Deployment, ask: Run) -> None:
    """Raises ConfigError for what would fail later, or deploy something else than what is committed."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", of.project):
        raise ConfigError(f"PROJECT={of.project} is not the id of a project: gcloud projects list")
    if not of.domain and not (of.variables and re.search(r"^domain\s*=", of.variables.read_text(), re.MULTILINE)):
        raise ConfigError("by which name is the gateway found? DOMAIN=telephony.example.com, or `domain` in VARS=…")
    for tool in ("terraform", "gcloud", "git"):
        if not shutil.which(tool):
            raise ConfigError(f"{tool} is not installed here (docs/deploy-cloud.md)")
    if changed := ask(["git", "-C", str(ROOT), "status", "--porcelain", "--", *_DEPLOYED]).strip():
        raise ConfigError(
            f"commit first, an image is named after its commit; changed: {changed.splitlines()[0].strip()}"
        )


def execute(arguments: Sequence[str]) -> str:
    """In this terminal, for Terraform asks. Raises ConfigError when it fails."""
    print(f"\n$ {shlex.join(arguments)}", flush=True)
    if subprocess.run(arguments, check=False).returncode:
        raise ConfigError(
            f"`{' '.join(arguments[:3])} …` failed, its reason is above; nothing after it was done. Run it again when"
            " it is mended"
        )
    return ""


def answer(arguments: Sequence[str]) -> str:
    """What a command that changes nothing prints. Raises ConfigError when it fails."""
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"`{' '.join(arguments[:4])} …`: {done.stderr.strip()}")
    return done.stdout


def _printed(arguments: Sequence[str]) -> str:
    print(shlex.join(arguments))
    return "…"  # in the place of an answer


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploys to a project of Google Cloud")
    parser.add_argument("--project", required=True)
    parser.add_argument("--region", default="")
    parser.add_argument("--domain", default="")
    parser.add_argument("--variables", type=Path, metavar="FILE")
    parser.add_argument("--yes", action="store_true", help="do not ask before each change")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    given = parser.parse_args(arguments)
    of = Deployment(
        project=given.project,
        region=given.region or DEFAULT_REGION,
        domain=given.domain,
        variables=given.variables,
        is_agreed=given.yes,
    )
    run, ask = (_printed, _printed) if given.dry_run else (execute, answer)
    try:
        if not given.dry_run:
            check(of, ask)
        prepare(of, run, ask)
        release(of, build(of, run, ask), run)
    except (ConfigError, OSError) as error:
        return command.fail("deploy", error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
