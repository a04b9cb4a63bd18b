locals {
  database_address = google_sql_database_instance.gateway.private_ip_address

  # As many as all instances may hold, and the first ones of the next revision beside them during a deployment.
  connections = sum([for size in local.sizes : (size.max + size.min) * (size.pool + 1)])
  # Of PostgreSQL and of Cloud SQL itself; a migration, a command.
  spare_connections = 20
}

resource "google_sql_database_instance" "gateway" {
  name                = "gateway"
  database_version    = "POSTGRES_15"
  region              = var.region
  deletion_protection = true

  settings {
    edition           = "ENTERPRISE"
    tier              = var.database_tier
    availability_type = "REGIONAL"
    disk_type         = "PD_SSD"
    disk_size         = 50
    disk_autoresize   = true

    database_flags {
      name  = "max_connections"
      value = tostring(var.max_connections)
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.gateway.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    insights_config {
      query_insights_enabled = true
    }

    maintenance_window {
      day  = 7
      hour = 1
    }
  }

  lifecycle {
    precondition {
      condition     = local.connections + local.spare_connections <= var.max_connections
      error_message = "All instances together may hold ${local.connections} connections, and ${local.spare_connections} are spare: raise max_connections (and database_tier), or lower instances."
    }
  }

  depends_on = [google_service_networking_connection.database]
}

resource "google_sql_database" "gateway" {
  name     = "gateway"
  instance = google_sql_database_instance.gateway.name
}

# Makes the roles, and is used for nothing else.
ephemeral "google_secret_manager_secret_version" "administrator" {
  secret  = google_secret_manager_secret_version.secret["database-admin-password"].secret
  version = "latest"
}

resource "google_sql_user" "administrator" {
  name                = "postgres"
  instance            = google_sql_database_instance.gateway.name
  password_wo         = ephemeral.google_secret_manager_secret_version.administrator.secret_data
  password_wo_version = 1
}
