"""
infra/cloud against what the code needs, the topology, the routes, and Google's own types. Nothing is asked of Google; what
this cannot see is the list in docs/deploy-cloud.md.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from flask import Flask, request
from google.cloud import run_v2
from google.pubsub_v1.types import Subscription

from infra import routes
from infra.deployment import rights, scheduler, topology
from infra.deployment.cloud import render
from lib.runtime import config
from lib.runtime.client_address import client_address
from tests.infra.cloud import evaluated, provider
from tests.infra.cloud.url_map import Sent, resolve

FUNCTIONS = sorted(path.parent.name for path in (evaluated.ROOT / "functions").glob("*/main.py"))
PUSHED = {one["function"] for one in topology.read()["subscriptions"].values()}
PUBLIC = set(FUNCTIONS) - PUSHED
# Set for the platform: which function an instance is, how many threads it has, what it logs.
PLATFORM = {"FUNCTION_SOURCE", "FUNCTION_TARGET", "LOG_LEVEL", "THREADS", "WORKERS"}
# Of emulators and simulators: no setting of a cloud.
DEVELOPMENT = {"PUBSUB_EMULATOR_HOST", "RETAILCRM_EXTRA_HOSTS"}
ADDRESS = "203.0.113.80"


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    return cache(lambda variables="": evaluated.evaluate(tmp_path_factory.mktemp("cloud"), variables))


@pytest.fixture(scope="module")
def cloud(evaluate):
    """As it is with example.tfvars."""
    return evaluate()


def services(cloud):
    return cloud["google_cloud_run_v2_service.function"]


def container(service):
    [template] = service["template"]
    [found] = template["containers"]
    return found


def variables(service):
    return {one["name"]: one["value"] for one in container(service)["env"] if "value_source" not in one}


def secrets(service):
    return {
        one["name"]: one["value_source"][0]["secret_key_ref"][0]["secret"]
        for one in container(service)["env"]
        if "value_source" in one
    }


def trusted_proxies(service):
    """With an address in place of the load balancer's, which only Google knows."""
    given = variables(service).get("TRUSTED_PROXIES", ADDRESS)
    assert ADDRESS in given or "google_compute_global_address.gateway.address" in given
    return given.replace("google_compute_global_address.gateway.address", ADDRESS)


def sections(function):
    """What its `config.require` names."""
    text = (evaluated.ROOT / "functions" / function / "main.py").read_text()
    [names] = re.findall(r"^config\.require\((.*?)\)$", text, re.MULTILINE | re.DOTALL)
    return [getattr(config, name) for name in re.findall(r"config\.(\w+)", names)]


def fields(function):
    found = {field.name.upper(): field for section in sections(function) for field in dataclasses.fields(section)}
    return {name: field for name, field in found.items() if name not in DEVELOPMENT}


def test_what_the_code_says_is_written_down():
    assert render.TARGET.read_text() == render.render(), "run `make cloud`"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_service_has_exactly_the_variables_and_secrets_that_its_function_asks_for(evaluate, function):
    every = {name for one in FUNCTIONS for name in fields(one)} - {"DATABASE_URL", "DATABASE_POOL_SIZE"}
    given = ", ".join(f'{name} = "1"' for name in sorted(every))
    all_set = evaluate(f"settings = {{ {given} }}")

    service = services(all_set)[function]

    wanted = fields(function)
    hidden = {name for name, field in wanted.items() if not field.repr} - {"DATABASE_URL", "DATABASE_LISTEN_URL"}
    assert set(secrets(service)) == hidden | {"PGPASSWORD"}
    assert set(variables(service)) == (set(wanted) - hidden) | PLATFORM


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_with_what_its_service_is_given(cloud, function):
    service = services(cloud)[function]
    given = variables(service) | dict.fromkeys(secrets(service), "a-secret-of-at-least-thirty-two-characters")
    given["TRUSTED_PROXIES"] = trusted_proxies(service)

    for section in sections(function):
        config.load(section, given)
    assert all(value for value in given.values())
    assert given["FUNCTION_SOURCE"] == f"functions/{function}/main.py"
    assert given["FUNCTION_TARGET"] == function.replace("-", "_")
    assert (evaluated.ROOT / given["FUNCTION_SOURCE"]).is_file()
    assert given["DATABASE_URL"].startswith(f"postgresql://{rights.role_of(function)}@")
    assert "sslmode=require" in given["DATABASE_URL"]


def test_a_setting_of_nobody_reaches_nobody(evaluate):
    with_more = evaluate('settings = { VAULT_KEYS = "x", RETAILCRM_EXTRA_HOSTS = "x", LOG = "x" }')

    assert not [name for one in services(with_more).values() for name, value in variables(one).items() if value == "x"]


def test_an_account_reads_the_secrets_of_its_own_function_and_publishes_where_its_docstring_says(cloud):
    readable = {
        (one["member"], one["secret_id"]) for one in cloud["google_secret_manager_secret_iam_member.function"].values()
    }
    publishing = {(one["member"], one["topic"]) for one in cloud["google_pubsub_topic_iam_member.function"].values()}

    assert readable == {
        (f"google_service_account.function[{name}].member", f"google_secret_manager_secret.secret[{secret}].id")
        for name, service in services(cloud).items()
        for secret in secrets(service).values()
    }
    for name in FUNCTIONS:
        contract = ast.get_docstring(ast.parse((evaluated.ROOT / "functions" / name / "main.py").read_text())) or ""
        said = re.search(r"^Publishes (.*?)^\w", contract, re.MULTILINE | re.DOTALL)
        topics = set(re.findall(r"[a-z]+-[a-z]+|ticks", said[1])) & set(topology.read()["topics"]) if said else set()
        member = f"google_service_account.function[{name}].member"
        assert {topic for who, topic in publishing if who == member} == {
            f"google_pubsub_topic.topic[{topic}].id" for topic in topics
        }
        [template] = services(cloud)[name]["template"]
        assert template["service_account"] == f"google_service_account.function[{name}].email"
    assert not [one for one in evaluated.blocks() if one.type.startswith("google_project_iam")]


def test_the_key_of_the_vault_is_for_those_who_ask_a_crm(cloud):
    with_key = {name for name, service in services(cloud).items() if "VAULT_KEYS" in secrets(service)}

    assert with_key == {name for name in FUNCTIONS if config.Vault in sections(name)}
    assert not with_key & {"dispatch-call-event", "sweep-calls", "assemble-recovered"}


def test_no_secret_comes_into_the_state():
    """Only write-only arguments take one."""
    text = "\n".join(path.read_text() for path in evaluated.CLOUD.glob("*.tf"))

    assert not re.search(r"^\s+(secret_data|password|root_password)\s*=", text, re.MULTILINE)
    assert not [one for one in evaluated.blocks() if one.type.startswith("random_") and one.kind != "ephemeral"]
    assert re.search(r"^\s+secret_data_wo\s*=", text, re.MULTILINE)
    for line in text.splitlines():
        assert "ephemeral." not in line or re.search(r"_wo\s*=|\?|: ephemeral", line), line


@pytest.mark.parametrize("checker", ["gateway", "cloud-run"])
def test_who_checks_pushes_and_whose_check_is_believed_are_one_thing(evaluate, checker):
    cloud = evaluate(f'pushes_checked_by = "{checker}"')

    for name in PUSHED:
        service = services(cloud)[name]
        assert service["invoker_iam_disabled"] == (checker == "gateway")
        assert variables(service)["PUSH_SIGNATURE_CHECKER"] == checker
        assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
        assert service["custom_audiences"] == [variables(service)["PUSH_AUDIENCE"]]
    allowed = cloud["google_cloud_run_v2_service_iam_member.pusher"]
    assert set(allowed) == (PUSHED if checker == "cloud-run" else set())
    assert {one["member"] for one in allowed.values()} <= {"google_service_account.pusher.member"}
    audiences = [variables(services(cloud)[name])["PUSH_AUDIENCE"] for name in PUSHED]
    assert len(set(audiences)) == len(PUSHED), "a token for one function is worth nothing at another"


def test_who_comes_from_outside_comes_through_the_load_balancer(cloud):
    for name in PUBLIC:
        assert services(cloud)[name]["ingress"] == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
        assert services(cloud)[name]["invoker_iam_disabled"] is True
    assert set(cloud["google_compute_backend_service.function"]) == PUBLIC


def of_api(message, value):
    """A message of Google's from Terraform's blocks: each is a list there, also where Google has one only."""
    meta = message.meta.fields
    unknown = set(value) - set(meta)
    assert not unknown, f"{message.__name__} has no {unknown}"
    found = {}
    for name, one in value.items():
        field = meta[name]
        if one is None or (field.message and one == []):
            continue
        if field.message and isinstance(one, list) and one and isinstance(one[0], dict):
            inner = [of_api(field.message, item) for item in one]
            if not field.repeated:
                assert len(inner) == 1, name
            found[name] = inner if field.repeated else inner[0]
        else:
            found[name] = one
    return found


# Of Terraform, or in the address of a request.
OUTSIDE = {"location", "deletion_protection"}


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("google_cloud_run_v2_service.function", run_v2.Service),
        ("google_cloud_run_v2_job.job", run_v2.Job),
        ("google_cloud_run_v2_worker_pool.scheduler", run_v2.WorkerPool),
    ],
)
def test_cloud_run_has_every_field_by_its_own_types(cloud, resource, message):
    found = cloud[resource]
    for one in found.values() if "name" not in found else [found]:
        content = of_api(message, {name: value for name, value in one.items() if name not in OUTSIDE})
        made = message.from_json(json.dumps(content), ignore_unknown_fields=False)
        assert made.template


def test_subscriptions_are_those_of_the_topology(cloud):
    endpoints = {name: f"google_cloud_run_v2_service.function[{name}].uri" for name in PUSHED}
    target = topology.Target(
        project="example",
        endpoints=endpoints,
        push_audience="set below",
        push_service_account="google_service_account.pusher.email",
    )
    wanted = {one.name.rpartition("/")[2]: one for one in topology.subscriptions(topology.read(), target)}

    found = cloud["google_pubsub_subscription.subscription"]

    assert set(found) == set(wanted)
    for name, one in found.items():
        [topic] = re.findall(r"^google_pubsub_topic\.topic\[(.*)\]\.id$", one["topic"])
        content = of_api(Subscription, {**one, "expiration_policy": [{}]})
        dead = content.get("dead_letter_policy")
        if dead:
            [dead_topic] = re.findall(r"\[(.*)\]\.id$", dead["dead_letter_topic"])
            dead["dead_letter_topic"] = f"projects/example/topics/{dead_topic}"
        made = Subscription.from_json(
            json.dumps(
                {
                    **content,
                    "name": f"projects/example/subscriptions/{name}",
                    "topic": f"projects/example/topics/{topic}",
                }
            ),
            ignore_unknown_fields=False,
        )
        function = topology.read()["subscriptions"][name]["function"]
        wanted[name].push_config.oidc_token.audience = variables(services(cloud)[function])["PUSH_AUDIENCE"]
        assert made == wanted[name], name
        assert one["expiration_policy"] == [{"ttl": ""}], "else a subscription that is quiet for a month is deleted"


def test_topics_are_those_of_the_topology_and_pubsub_may_move_what_is_given_up(cloud):
    wanted = topology.read()["topics"]
    dying = {name for name, one in topology.read()["subscriptions"].items() if "dead_letter_topic" in one}

    topics = cloud["google_pubsub_topic.topic"]
    assert set(topics) == set(wanted)
    assert {
        name: one["message_retention_duration"] for name, one in topics.items() if one["message_retention_duration"]
    } == {name: f"{one['message_retention_seconds']}s" for name, one in wanted.items() if one}
    agent = cloud["local.pubsub_agent"]
    assert agent.endswith("@gcp-sa-pubsub.iam.gserviceaccount.com")
    into, out_of = cloud["google_pubsub_topic_iam_member.dead"], cloud["google_pubsub_subscription_iam_member.dying"]
    assert {one["topic"] for one in into.values()} == {f"google_pubsub_topic.topic[{name}.dead].id" for name in dying}
    assert {one["subscription"] for one in out_of.values()} == {
        f"google_pubsub_subscription.subscription[{name}].id" for name in dying
    }
    assert {one["member"] for one in (*into.values(), *out_of.values())} == {agent}
    assert cloud["google_service_account_iam_member.pubsub_signs"]["member"] == agent


def most_connections(cloud):
    return sum(
        (scaling["max_instance_count"] + scaling["min_instance_count"])
        * (int(variables(service)["DATABASE_POOL_SIZE"]) + 1)
        for service in services(cloud).values()
        for scaling in service["template"][0]["scaling"]
    )


def allowed_connections(cloud):
    [settings] = cloud["google_sql_database_instance.gateway"]["settings"]
    return next(int(flag["value"]) for flag in settings["database_flags"] if flag["name"] == "max_connections")


def test_all_instances_together_and_the_first_ones_of_a_next_version_fit_the_database(cloud):
    assert most_connections(cloud) == cloud["output.connections"]["most"]
    assert most_connections(cloud) + cloud["output.connections"]["spare"] <= allowed_connections(cloud)
    assert cloud["local.precondition__gateway__0"] is True


def test_what_is_written_down_for_many_enterprises_fits_too(evaluate):
    large = evaluate((evaluated.CLOUD / "large.tfvars").read_text())

    assert large["local.precondition__gateway__0"] is True
    assert allowed_connections(large) == 600
    [scaling] = services(large)["retailcrm-deliver"]["template"][0]["scaling"]
    assert scaling == {"min_instance_count": 4, "max_instance_count": 24}


def test_more_instances_than_the_database_has_connections_for_are_refused_before_anything_changes(evaluate):
    cloud = evaluate('instances = { "retailcrm-deliver" = { min = 2, max = 60 } }')

    assert most_connections(cloud) > allowed_connections(cloud)
    assert cloud["local.precondition__gateway__0"] is False


def test_an_instance_takes_as_many_requests_as_it_has_threads_and_no_pool_is_larger(cloud):
    for name, service in services(cloud).items():
        threads = int(variables(service)["THREADS"])
        assert service["template"][0]["max_instance_request_concurrency"] == threads, name
        assert int(variables(service)["DATABASE_POOL_SIZE"]) <= threads, name
        assert container(service)["resources"][0]["cpu_idle"] is False, f"{name}: LISTEN needs the processor"
        assert service["template"][0]["scaling"][0]["min_instance_count"] >= 1, name


def test_deadlines_nest(cloud):
    """From the CRM to the ack deadline: tests/test_conventions.py. Here from there to the platform."""
    for name, service in services(cloud).items():
        timeout = float(service["template"][0]["timeout"].rstrip("s"))
        deadlines = [
            one["ack_deadline_seconds"] for one in topology.read()["subscriptions"].values() if one["function"] == name
        ]
        assert all(timeout >= deadline for deadline in deadlines), name
        if name in PUBLIC:
            assert timeout >= routes.UPSTREAM_SECONDS, name


def by_the_gateway(method, path, query):
    """As infra/stand_ins/gateway.py and nginx send it on: a function and a path, or the page."""
    exact = {route.path: route.function for route in routes.ROUTES if not route.path.endswith("/")}
    prefixes = [route for route in routes.ROUTES if route.path.endswith("/")]
    if path in exact:
        return Sent(of_function(exact[path]), path)
    if found := [route for route in prefixes if path.startswith(route.path)]:
        return Sent(of_function(found[0].function), path)
    page = routes.UI_PREFIX
    if path in {page, f"{page}index.html", page[:-1]}:
        if method == "POST" or (method == "GET" and "token=" in query):
            return Sent(of_function(routes.OPENING.function), page)
        if path == page[:-1]:
            return Sent("", page, 303)
    operation = re.fullmatch(r"(/health|/stats)/([a-z-]+)", path)
    if operation and operation[2] in PUBLIC:
        return Sent(of_function(operation[2]), operation[1])
    return Sent("google_compute_backend_bucket.page.id", path)


def of_function(name):
    return f"google_compute_backend_service.function[{name}].id"


def test_every_path_leads_where_the_gateway_leads_it(cloud):
    url_map = cloud["google_compute_url_map.gateway"]
    given = [route.path for route in routes.ROUTES]
    paths = {
        *given,
        *(f"{path}more" for path in given),
        *(f"{path}/more" for path in given),
        *(path.rstrip("/") for path in given),
        *(path.upper() for path in given),
        *(f"/{what}/{name}" for what in ("health", "stats") for name in FUNCTIONS),
        *(
            "/",
            "/health",
            "/dead",
            "/tick",
            "/unknown",
            "/retailcrm-admin/js/app.js",
            "/retailcrm-admin/",
            "/retailcrm-admin",
        ),
        "/retailcrm-admin/index.html",
    }
    for path in sorted(paths):
        for method in ("GET", "HEAD", "POST", "PUT"):
            for query in ("", "token=x", "phone=1&token=x", "tokens=x"):
                assert resolve(url_map, method, path, query) == by_the_gateway(method, path, query), (
                    method,
                    path,
                    query,
                )


def test_no_path_leads_where_pushes_arrive(cloud):
    url_map = cloud["google_compute_url_map.gateway"]

    backends = {rule.get("service") for rule in url_map["path_matcher"][0]["route_rules"]}
    assert backends == {of_function(name) for name in PUBLIC} | {None}
    assert [one["service"] for one in url_map["test"]] == [of_function(route.function) for route in routes.ROUTES]


def test_an_event_is_asked_for_again_and_nothing_else_is(cloud):
    """As nginx does: a click that rings twice is worse than one that failed."""
    rules = cloud["google_compute_url_map.gateway"]["path_matcher"][0]["route_rules"]

    again = {rule["service"] for rule in rules for action in rule.get("route_action", []) if action["retry_policy"]}
    assert again == {of_function("dispatch-call-event")}
    assert {route.function for route in routes.ROUTES if route.repeatable} == {"dispatch-call-event"}


def headers(lines):
    return dict(line.split(": ", 1) for line in lines)


def test_answers_have_the_headers_that_the_gateway_gives_them(cloud):
    strict = {"Strict-Transport-Security": routes.STRICT_TRANSPORT}

    for one in cloud["google_compute_backend_service.function"].values():
        assert headers(one["custom_response_headers"]) == routes.SECURITY_HEADERS | strict
    files = cloud["google_storage_bucket_object.page"]
    given = headers(cloud["google_compute_backend_bucket.page"]["custom_response_headers"])
    wanted = {**routes.SECURITY_HEADERS, **strict, **routes.PAGE_HEADERS}
    assert given == {name: text for name, text in wanted.items() if name not in {"Cache-Control", "Vary"}}
    assert {one["cache_control"] for one in files.values()} == {routes.PAGE_HEADERS["Cache-Control"]}


def test_every_file_of_the_page_is_in_the_bucket_as_what_it_is(cloud):
    files = cloud["google_storage_bucket_object.page"]
    ui = evaluated.ROOT / "ui"

    there = {str(path.relative_to(ui)) for path in ui.rglob("*") if path.is_file()} - {"README.md"}
    assert {one["name"] for one in files.values()} == {f"retailcrm-admin/{name}" for name in there}
    types = {Path(one["name"]).suffix: one["content_type"] for one in files.values()}
    assert types == {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        # The load balancer appends the client and itself.
        (f"198.51.100.7,{ADDRESS}", "198.51.100.7"),
        (f"192.0.2.1, 198.51.100.7, {ADDRESS}", "198.51.100.7"),
        (f"{ADDRESS}, 198.51.100.7, {ADDRESS}", "198.51.100.7"),
        # A front end of Google's on the way.
        (f"192.0.2.1, 198.51.100.7, {ADDRESS}, 35.191.4.4", "198.51.100.7"),
    ],
)
@pytest.mark.parametrize("function", sorted(PUBLIC))
def test_the_client_is_who_asked_the_load_balancer_whatever_it_claims(cloud, process, function, chain, client):
    process.setenv("TRUSTED_PROXIES", trusted_proxies(services(cloud)[function]))
    config.current.cache_clear()

    with Flask("any").test_request_context(
        headers={"X-Forwarded-For": chain}, environ_base={"REMOTE_ADDR": "169.254.1.1"}
    ):
        assert client_address(request) == client


def test_one_address_may_ask_for_as_much_as_at_the_gateway(cloud):
    [throttle, rest] = cloud["google_compute_security_policy.gateway"]["rule"]
    [options] = throttle["rate_limit_options"]
    [threshold] = options["rate_limit_threshold"]

    assert threshold["count"] / threshold["interval_sec"] == routes.REQUESTS_PER_SECOND
    assert (options["enforce_on_key"], options["exceed_action"], rest["action"]) == ("IP", "deny(429)", "allow")


def test_a_clock_ticks_each_second_and_may_do_nothing_but_tick(cloud):
    pool = cloud["google_cloud_run_v2_worker_pool.scheduler"]
    [one] = pool["template"][0]["containers"]

    assert (one["command"], one["args"]) == (["python"], ["-m", scheduler.__name__, "--every=1"])
    assert pool["scaling"] == [{"manual_instance_count": 1}]
    config.load(config.PubSub, {env["name"]: env["value"] for env in one["env"]})
    granted = {
        (one["topic"], one["role"])
        for name, one in cloud.items()
        if name.endswith("_iam_member.scheduler") and one["member"] == "google_service_account.scheduler.member"
    }
    assert granted == {("google_pubsub_topic.topic[ticks].id", "roles/pubsub.publisher")}
    assert cloud["google_cloud_scheduler_job.tick"]["schedule"] == "* * * * *"


def test_jobs_have_what_their_commands_ask_for(cloud):
    jobs = cloud["google_cloud_run_v2_job.job"]

    def environment(name):
        [template] = jobs[name]["template"][0]["template"]
        [one] = template["containers"]
        return one["args"], {env["name"]: env.get("value", "secret") for env in one["env"]}

    for name, module in (
        ("roles", "deployment.roles"),
        ("migrate", "deployment.migrate"),
        ("operator", "commands.explain"),
    ):
        arguments, given = environment(name)
        assert arguments == ["-m", f"infra.{module}"]
        assert given["PGPASSWORD"]
    _, of_roles = environment("roles")
    assert {rights.password_variable(role) for role in rights.roles()} <= set(of_roles)
    assert "DATABASE_ADMIN_URL" in of_roles
    assert environment("migrate")[1]["DATABASE_URL"].startswith(f"postgresql://{rights.MIGRATOR}@")
    assert environment("operator")[1]["DATABASE_URL"].startswith(f"postgresql://{rights.OPERATOR}@")
    assert int(of_roles["DATABASE_ROLE_CONNECTIONS"]) >= max(
        (one["max_instance_count"]) * (int(variables(service)["DATABASE_POOL_SIZE"]) + 1)
        for service in services(cloud).values()
        for one in service["template"][0]["scaling"]
    )


def test_somebody_is_told_of_every_subscription_that_stands_still(cloud):
    waiting = cloud["google_monitoring_alert_policy.waiting"]

    assert set(waiting) == {name for name in topology.read()["subscriptions"] if not name.endswith(".dead")}
    for one in (*waiting.values(), *cloud["google_monitoring_alert_policy.watched"].values()):
        assert one["notification_channels"] == ["google_monitoring_notification_channel.email[operator@example.com].id"]
        assert len(one["documentation"][0]["content"]) > 80, "what to do"


@pytest.mark.parametrize("block", evaluated.blocks(), ids=lambda one: f"{one.type}.{one.name}")
def test_the_provider_takes_every_argument_and_has_each_that_it_needs(block):
    if block.kind != "resource":
        pytest.skip("the list has resources only")

    body = {name: one for name, one in block.body.items() if name not in provider.META}
    check(block.type, body, provider.read()[block.type])


def check(where, body, arguments):
    given = {name for name in body if not name.startswith("__")} - {"dynamic"}
    inside = list(evaluated.nested(body))
    given |= {name for name, _ in inside}
    assert given <= set(arguments), f"{where} takes no {given - set(arguments)}"
    needed = {name for name, one in arguments.items() if one["required"]}
    assert needed <= given, f"{where} needs {needed - given}"
    blocks = {name for name, _ in inside}
    for name, one in inside:
        assert arguments[name]["block"] is not None, f"{where}.{name} is a value, not a block"
        check(f"{where}.{name}", one, arguments[name]["block"])
    for name in given - blocks:
        assert arguments[name]["block"] is None, f"{where}.{name} is a block, not a value"


def test_an_argument_that_the_provider_does_not_know_is_seen():
    arguments = provider.read()["google_pubsub_topic"]

    check("google_pubsub_topic", {"name": "x"}, arguments)
    for wrong in ({}, {"name": "x", "retention": "1s"}, {"name": "x", "labels": [{"__is_block__": True}]}):
        with pytest.raises(AssertionError):
            check("google_pubsub_topic", wrong, arguments)


needs_terraform = pytest.mark.skipif(not shutil.which("terraform"), reason="Terraform is not installed")


@needs_terraform
def test_terraform_evaluates_everything_to_the_same(cloud, tmp_path):
    assert evaluated.evaluate(tmp_path, by="terraform") == cloud


@needs_terraform
def test_the_files_are_formatted():
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(evaluated.CLOUD)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1"},
    )
    assert done.stdout == ""
