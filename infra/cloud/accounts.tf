# Who may do what: an account for each function, and none has a role of the whole project.

locals {
  publishing = {
    for pair in flatten([
      for name, function in local.functions : [for topic in function.publishes : { function = name, topic = topic }]
    ]) : "${pair.function} ${pair.topic}" => pair
  }
  reading = {
    for pair in flatten([
      for name, secrets in local.secrets : [for secret in values(secrets) : { function = name, secret = secret }]
    ]) : "${pair.function} ${pair.secret}" => pair
  }
}

resource "google_service_account" "function" {
  for_each     = local.functions
  account_id   = each.key
  display_name = "The function ${each.key}"
}

resource "google_pubsub_topic_iam_member" "function" {
  for_each = local.publishing
  topic    = google_pubsub_topic.topic[each.value.topic].id
  role     = "roles/pubsub.publisher"
  member   = google_service_account.function[each.value.function].member
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each  = local.reading
  secret_id = google_secret_manager_secret.secret[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.function].member
}

resource "google_service_account" "scheduler" {
  account_id   = "scheduler"
  display_name = "Ticks"
}

resource "google_pubsub_topic_iam_member" "scheduler" {
  topic  = google_pubsub_topic.topic["ticks"].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.scheduler.member
}

# Signs every push; it may do nothing else.
resource "google_service_account" "pusher" {
  account_id   = "pusher"
  display_name = "Pushes of Pub/Sub"
}

resource "google_service_account_iam_member" "pubsub_signs" {
  service_account_id = google_service_account.pusher.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

resource "google_cloud_run_v2_service_iam_member" "pusher" {
  for_each = var.pushes_checked_by == "cloud-run" ? local.pushed : toset([])
  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.pusher.member
}
