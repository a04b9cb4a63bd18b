terraform {
  # Write-only arguments: no secret stands in the state.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
  }

  # `make deploy` names the bucket.
  backend "gcs" {
    prefix = "gateway"
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
