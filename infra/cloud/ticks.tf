# The clock (docs/decisions/0017-ticks-in-the-cloud.md): a worker pool ticks each second, and Cloud Scheduler each minute,
# should the pool be away. A tick goes on while there is work, so one a minute is slow and loses nothing.

resource "google_cloud_run_v2_worker_pool" "scheduler" {
  name                = "scheduler"
  location            = var.region
  deletion_protection = false

  scaling {
    manual_instance_count = 1
  }

  template {
    service_account = google_service_account.scheduler.email

    containers {
      image   = var.image
      command = ["python"]
      args    = ["-m", "infra.deployment.scheduler", "--every=1"]

      resources {
        limits = { cpu = "1", memory = "512Mi" }
      }

      env {
        name  = "GOOGLE_CLOUD_PROJECT"
        value = var.project
      }
    }
  }

  depends_on = [google_pubsub_topic_iam_member.scheduler]
}

resource "google_cloud_scheduler_job" "tick" {
  name      = "tick"
  region    = var.region
  schedule  = "* * * * *"
  time_zone = "Etc/UTC"

  pubsub_target {
    topic_name = google_pubsub_topic.topic["ticks"].id
    data       = base64encode(jsonencode({ by = "cloud-scheduler" }))
  }
}
