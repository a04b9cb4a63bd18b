data "google_project" "this" {}

locals {
  # What the code says: written by `make cloud`, and compared by a test.
  rendered = jsondecode(file("${path.module}/rendered.json"))
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "gateway"
  format        = "DOCKER"
  location      = var.region
}
