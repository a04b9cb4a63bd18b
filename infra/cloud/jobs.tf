# Run by `make deploy` before the functions of a new version start, in this order, and by an operator.

locals {
  admin_secret = "database-admin-password"
  jobs = {
    roles = {
      args = ["-m", "infra.deployment.roles"]
      variables = {
        DATABASE_ADMIN_URL        = "postgresql://postgres@${local.database_address}/gateway?sslmode=require"
        DATABASE_ROLE_CONNECTIONS = tostring(floor(var.max_connections / 2))
      }
      secrets = merge(
        { PGPASSWORD = local.admin_secret },
        { for variable in values(local.rendered.roles) : variable => local.secret_ids[variable] },
      )
    }
    migrate = {
      args      = ["-m", "infra.deployment.migrate"]
      variables = { DATABASE_URL = "postgresql://gateway_migrator@${local.database_address}/gateway?sslmode=require" }
      secrets   = { PGPASSWORD = local.secret_ids[local.rendered.roles.gateway_migrator] }
    }
    # gcloud run jobs execute operator --args=-m,infra.commands.explain,… A file for it comes by a secret (below).
    operator = {
      args = ["-m", "infra.commands.explain"]
      variables = {
        DATABASE_URL         = "postgresql://gateway_operator@${local.database_address}/gateway?sslmode=require"
        GOOGLE_CLOUD_PROJECT = var.project
      }
      secrets = {
        PGPASSWORD = local.secret_ids[local.rendered.roles.gateway_operator]
        VAULT_KEYS = local.secret_ids["VAULT_KEYS"]
      }
    }
  }
  job_reading = {
    for pair in flatten([
      for name, job in local.jobs : [for secret in values(job.secrets) : { job = name, secret = secret }]
    ]) : "${pair.job} ${pair.secret}" => pair
  }
  event_subscriptions = toset([
    for name, subscription in local.topology.subscriptions : name
    if contains(["call-events", "recovered-events"], subscription.topic)
  ])
}

# What `provision` reads, as /files/enterprise.json: it holds keys and passwords, so it is one.
resource "google_secret_manager_secret" "enterprise" {
  secret_id = "enterprise-file"
  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "enterprise" {
  secret                 = google_secret_manager_secret.enterprise.id
  secret_data_wo         = "{}"
  secret_data_wo_version = 1
}

resource "google_secret_manager_secret_iam_member" "enterprise" {
  secret_id = google_secret_manager_secret.enterprise.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.job["operator"].member
}

resource "google_service_account" "job" {
  for_each     = local.jobs
  account_id   = "job-${each.key}"
  display_name = "The job ${each.key}"
}

resource "google_secret_manager_secret_iam_member" "job" {
  for_each  = local.job_reading
  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.job[each.value.job].member
}

# A replay publishes, a seek turns subscriptions back.
resource "google_pubsub_topic_iam_member" "operator" {
  for_each = local.topology.topics
  topic    = google_pubsub_topic.topic[each.key].id
  role     = "roles/pubsub.publisher"
  member   = google_service_account.job["operator"].member
}

resource "google_pubsub_subscription_iam_member" "operator" {
  for_each = {
    for pair in setproduct(local.event_subscriptions, ["subscriber", "viewer"]) : "${pair[0]} ${pair[1]}" => pair
  }
  subscription = google_pubsub_subscription.subscription[each.value[0]].id
  role         = "roles/pubsub.${each.value[1]}"
  member       = google_service_account.job["operator"].member
}

resource "google_cloud_run_v2_job" "job" {
  for_each            = local.jobs
  name                = each.key
  location            = var.region
  deletion_protection = false

  template {
    template {
      service_account = google_service_account.job[each.key].email
      # A migration may build an index over a large table; half done, it begins again where it was.
      timeout     = "7200s"
      max_retries = 0

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.gateway.id
          subnetwork = google_compute_subnetwork.gateway.id
        }
      }

      dynamic "volumes" {
        for_each = each.key == "operator" ? ["enterprise-file"] : []
        content {
          name = "files"
          secret {
            secret = volumes.value
            items {
              version = "latest"
              path    = "enterprise.json"
            }
          }
        }
      }

      containers {
        image   = var.image
        command = ["python"]
        args    = each.value.args

        dynamic "volume_mounts" {
          for_each = each.key == "operator" ? ["/files"] : []
          content {
            name       = "files"
            mount_path = volume_mounts.value
          }
        }

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "env" {
          for_each = each.value.variables
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = each.value.secrets
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
  }

  depends_on = [
    google_secret_manager_secret_iam_member.enterprise,
    google_secret_manager_secret_iam_member.job,
    google_secret_manager_secret_version.enterprise,
    google_secret_manager_secret_version.secret,
    google_sql_database.gateway,
    google_sql_user.administrator,
  ]
}
