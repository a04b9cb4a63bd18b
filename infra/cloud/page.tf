# The administrators' page, at the addresses that nginx gives it.

locals {
  page_folder = "${path.module}/../../ui"
  page_prefix = trimprefix(local.rendered.page.path, "/")
  page_types = {
    css  = "text/css; charset=utf-8", html = "text/html; charset=utf-8", js = "text/javascript; charset=utf-8",
    json = "application/json", svg = "image/svg+xml",
  }
  page_files = toset([for file in fileset(local.page_folder, "**") : file if file != "README.md"])
}

resource "google_storage_bucket" "page" {
  name                        = "${var.project}-gateway-page"
  location                    = var.region
  uniform_bucket_level_access = true
  force_destroy               = true

  website {
    main_page_suffix = "index.html"
  }
}

# What anybody gets through the load balancer: no data, only the page.
resource "google_storage_bucket_iam_member" "page" {
  bucket = google_storage_bucket.page.name
  role   = "roles/storage.legacyObjectReader"
  member = "allUsers"
}

resource "google_storage_bucket_object" "page" {
  for_each      = local.page_files
  bucket        = google_storage_bucket.page.name
  name          = "${local.page_prefix}${each.key}"
  source        = "${local.page_folder}/${each.key}"
  content_type  = lookup(local.page_types, reverse(split(".", each.key))[0], "application/octet-stream")
  cache_control = "no-cache"
}

resource "google_storage_bucket_object" "first_page" {
  bucket        = google_storage_bucket.page.name
  name          = "index.html"
  content       = local.rendered.first_page
  content_type  = "text/html; charset=utf-8"
  cache_control = "no-cache"
}

# Tells of the load balancer itself, as nginx's does of nginx.
resource "google_storage_bucket_object" "health" {
  bucket        = google_storage_bucket.page.name
  name          = "health"
  content       = jsonencode({ status = "ok" })
  content_type  = "application/json"
  cache_control = "no-store"
}
