data "google_project" "this" {}

locals {
  # What the code says: written by `make cloud`, and compared by a test.
  rendered = jsondecode(file("${path.module}/rendered.json"))

  apis = [
    "artifactregistry", "cloudbuild", "cloudscheduler", "compute", "iam", "monitoring", "pubsub", "run",
    "secretmanager", "servicenetworking", "sqladmin",
  ]
}

resource "google_project_service" "api" {
  for_each           = toset(local.apis)
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "gateway"
  format        = "DOCKER"
  location      = var.region
  depends_on    = [google_project_service.api]
}
