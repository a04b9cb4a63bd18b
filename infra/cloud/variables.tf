variable "project" {
  description = "The id of the project; it should hold nothing else"
  type        = string
}

variable "region" {
  description = "Where everything runs"
  type        = string
  default     = "europe-west1"
}

variable "domain" {
  description = "The name by which hosts, browsers and RetailCRM find the gateway; its A record leads to the output `address`"
  type        = string
}

variable "image" {
  description = "The image of all functions, with its digest; `make deploy` builds it"
  type        = string
}

variable "alert_emails" {
  description = "Who is told when something needs a person"
  type        = list(string)
  default     = []
}

variable "settings" {
  description = "Settings of .env.example that differ from their defaults, and LOG_LEVEL; a function gets those that it reads"
  type        = map(string)
  default     = {}
}

variable "instances" {
  description = "Instances of functions that differ from local.sizes (functions.tf)"
  type        = map(object({ min = number, max = number }))
  default     = {}
}

variable "pushes_checked_by" {
  description = <<-EOT
    Who checks the signature of a push: `gateway`, or `cloud-run` where the organisation forbids to switch off the check
    of Cloud Run. The check of Cloud Run and what the functions believe are both set by this one variable.
  EOT
  type        = string
  default     = "gateway"

  validation {
    condition     = contains(["gateway", "cloud-run"], var.pushes_checked_by)
    error_message = "pushes_checked_by must be gateway or cloud-run."
  }
}

variable "database_tier" {
  description = "The machine of Cloud SQL: db-custom-CORES-MEGABYTES"
  type        = string
  default     = "db-custom-2-8192"
}

variable "max_connections" {
  description = "Of PostgreSQL; what all instances together may hold must fit, which is checked"
  type        = number
  default     = 400
}
