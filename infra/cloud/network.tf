resource "google_compute_network" "gateway" {
  name                    = "gateway"
  auto_create_subnetworks = false
}

# Instances take addresses of it, during a deployment those of two revisions.
resource "google_compute_subnetwork" "gateway" {
  name                     = "gateway"
  network                  = google_compute_network.gateway.id
  region                   = var.region
  ip_cidr_range            = "10.8.0.0/23"
  private_ip_google_access = true
}

resource "google_compute_global_address" "database" {
  name          = "gateway-database"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  network       = google_compute_network.gateway.id
}

resource "google_service_networking_connection" "database" {
  network                 = google_compute_network.gateway.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.database.name]
}
