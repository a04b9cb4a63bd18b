output "address" {
  description = "Where the A record of the domain leads"
  value       = google_compute_global_address.gateway.address
}

output "gateway" {
  description = "What hosts, browsers and RetailCRM are given"
  value       = "https://${var.domain}"
}

output "page" {
  description = "The administrators' page"
  value       = "https://${var.domain}${local.page_path}"
}

output "images" {
  description = "Where `make deploy` puts the image"
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "connections" {
  description = "What all instances may hold, and what PostgreSQL allows"
  value       = { most = local.connections, spare = local.spare_connections, allowed = var.max_connections }
}

output "jobs" {
  description = "gcloud run jobs execute NAME --region REGION --wait"
  value       = keys(local.jobs)
}
