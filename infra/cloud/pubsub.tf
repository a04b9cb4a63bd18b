# Topics and subscriptions of infra/topology.json, read from the file itself.

locals {
  dying = {
    for name, subscription in local.topology.subscriptions : name => subscription
    if lookup(subscription, "dead_letter_after_attempts", null) != null
  }
  topics = merge(local.topology.topics, { for name in keys(local.dying) : "${name}.dead" => {} })
  subscriptions = merge(
    local.topology.subscriptions,
    { for name in keys(local.dying) : "${name}.dead" => merge(local.topology.dead_letters, { topic = "${name}.dead" }) },
  )
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "topic" {
  for_each = local.topics
  name     = each.key
  message_retention_duration = (
    lookup(each.value, "message_retention_seconds", null) == null ? null : "${each.value.message_retention_seconds}s"
  )
}

resource "google_pubsub_subscription" "subscription" {
  for_each = local.subscriptions
  name     = each.key
  topic    = google_pubsub_topic.topic[each.value.topic].id

  ack_deadline_seconds       = each.value.ack_deadline_seconds
  retain_acked_messages      = lookup(each.value, "retain_acked_messages", false)
  message_retention_duration = "${lookup(each.value, "message_retention_seconds", 604800)}s"

  push_config {
    push_endpoint = "${google_cloud_run_v2_service.function[each.value.function].uri}${each.value.path}"
    oidc_token {
      service_account_email = google_service_account.pusher.email
      audience              = local.audiences[each.value.function]
    }
  }

  # Never, however quiet it is.
  expiration_policy {
    ttl = ""
  }

  dynamic "retry_policy" {
    for_each = lookup(each.value, "retry_min_seconds", null) == null ? [] : [each.value]
    content {
      minimum_backoff = "${retry_policy.value.retry_min_seconds}s"
      maximum_backoff = "${retry_policy.value.retry_max_seconds}s"
    }
  }

  dynamic "dead_letter_policy" {
    for_each = lookup(each.value, "dead_letter_after_attempts", null) == null ? [] : [each.value]
    content {
      dead_letter_topic     = google_pubsub_topic.topic["${each.key}.dead"].id
      max_delivery_attempts = dead_letter_policy.value.dead_letter_after_attempts
    }
  }

  depends_on = [google_service_account_iam_member.pubsub_signs, google_cloud_run_v2_service_iam_member.pusher]
}

# Pub/Sub itself moves what is given up: it needs the right to, on both sides.
resource "google_pubsub_topic_iam_member" "dead" {
  for_each = local.dying
  topic    = google_pubsub_topic.topic["${each.key}.dead"].id
  role     = "roles/pubsub.publisher"
  member   = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dying" {
  for_each     = local.dying
  subscription = google_pubsub_subscription.subscription[each.key].id
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
