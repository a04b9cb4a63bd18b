# The functions: one image, and each its own account, role in the database, secrets, size and ingress.

locals {
  # `threads` is the concurrency of an instance too: a request beyond it would wait in the instance, unseen by the
  # autoscaler. `pool`: connections to the database, to which one for LISTEN comes. Figures: docs/deploy-cloud.md, "Sizes".
  default_sizes = {
    # Hosts post once: an instance that restarts must not be the only one.
    "dispatch-call-event" = { min = 2, max = 8, threads = 8, pool = 4, cpu = "1", memory = "1Gi", seconds = 30 }
    "retailcrm-deliver"   = { min = 2, max = 12, threads = 8, pool = 8, cpu = "1", memory = "1Gi", seconds = 60 }
    "retailcrm-upload"    = { min = 1, max = 4, threads = 8, pool = 8, cpu = "1", memory = "512Mi", seconds = 60 }
    "assemble-recovered"  = { min = 1, max = 1, threads = 8, pool = 4, cpu = "1", memory = "1Gi", seconds = 60 }
    "sweep-calls"         = { min = 1, max = 2, threads = 8, pool = 4, cpu = "1", memory = "512Mi", seconds = 30 }
    # Its threads wait for Asterisk services.
    "make-call"       = { min = 1, max = 3, threads = 24, pool = 8, cpu = "1", memory = "512Mi", seconds = 30 }
    "smart-redirect"  = { min = 1, max = 3, threads = 8, pool = 4, cpu = "1", memory = "512Mi", seconds = 30 }
    "register-module" = { min = 1, max = 1, threads = 8, pool = 4, cpu = "1", memory = "512Mi", seconds = 60 }
    # Exports are streamed for as long as they take.
    "admin-api" = { min = 1, max = 3, threads = 8, pool = 8, cpu = "1", memory = "512Mi", seconds = 300 }
  }
  sizes = { for name, size in local.default_sizes : name => merge(size, try(var.instances[name], {})) }

  topology  = jsondecode(file("${path.module}/../topology.json"))
  functions = local.rendered.functions
  pushed    = toset([for subscription in local.topology.subscriptions : subscription.function])
  public    = toset([for name in keys(local.functions) : name if !contains(local.pushed, name)])

  # With the function in it: a token for one is worth nothing at another.
  audiences = { for name in local.pushed : name => "https://${name}.gateway.internal" }

  # Google's front ends, and the load balancer, which appends its own address behind the client's.
  proxies = "${google_compute_global_address.gateway.address},35.191.0.0/16,130.211.0.0/22"

  # A function gets those that its config.require names.
  settings = merge(var.settings, {
    GOOGLE_CLOUD_PROJECT   = var.project
    PUBLIC_URL             = "https://${var.domain}"
    PUSH_SERVICE_ACCOUNT   = google_service_account.pusher.email
    PUSH_SIGNATURE_CHECKER = var.pushes_checked_by
    TRUSTED_PROXIES        = local.proxies
  })
  variables = {
    for name, function in local.functions : name => merge(
      { for key, value in local.settings : key => value if contains(function.variables, key) },
      {
        DATABASE_URL       = "postgresql://${function.role}@${local.database_address}/gateway?sslmode=require"
        DATABASE_POOL_SIZE = tostring(local.sizes[name].pool)
        FUNCTION_SOURCE    = function.source
        FUNCTION_TARGET    = function.target
        LOG_LEVEL          = lookup(var.settings, "LOG_LEVEL", "INFO")
        THREADS            = tostring(local.sizes[name].threads)
        WORKERS            = "1"
      },
      contains(local.pushed, name) ? { PUSH_AUDIENCE = local.audiences[name] } : {},
    )
  }
  # By the variable, the secret whose latest version it holds; libpq reads PGPASSWORD.
  secrets = {
    for name, function in local.functions : name => merge(
      { for key in function.secrets : key => local.secret_ids[key] },
      { PGPASSWORD = local.secret_ids[local.rendered.roles[function.role]] },
    )
  }
}

resource "google_cloud_run_v2_service" "function" {
  for_each = local.functions
  name     = each.key
  location = var.region

  # Pub/Sub of the same project comes by the internal way, everybody else through the load balancer.
  ingress = contains(local.pushed, each.key) ? "INGRESS_TRAFFIC_INTERNAL_ONLY" : "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  # Hosts and RetailCRM have no accounts of Google. Of a push, Cloud Run's own check would take the signature away.
  invoker_iam_disabled = contains(local.pushed, each.key) ? var.pushes_checked_by == "gateway" : true
  custom_audiences     = contains(local.pushed, each.key) ? [local.audiences[each.key]] : null
  deletion_protection  = false

  template {
    service_account                  = google_service_account.function[each.key].email
    timeout                          = "${local.sizes[each.key].seconds}s"
    max_instance_request_concurrency = local.sizes[each.key].threads

    scaling {
      min_instance_count = local.sizes[each.key].min
      max_instance_count = local.sizes[each.key].max
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = google_compute_network.gateway.id
        subnetwork = google_compute_subnetwork.gateway.id
      }
    }

    containers {
      image = var.image

      resources {
        limits = { cpu = local.sizes[each.key].cpu, memory = local.sizes[each.key].memory }
        # Threads listen for changed configurations and publish after a delay, also between requests.
        cpu_idle          = false
        startup_cpu_boost = true
      }

      ports {
        container_port = 8080
      }

      startup_probe {
        timeout_seconds   = 2
        period_seconds    = 2
        failure_threshold = 30
        tcp_socket {
          port = 8080
        }
      }

      dynamic "env" {
        for_each = local.variables[each.key]
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets[each.key]
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.function, google_secret_manager_secret_version.secret]
}
