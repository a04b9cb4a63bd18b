# What Google Cloud measures by itself and a person must hear of. What only the gateway knows (pop-ups, backlogs of a CRM)
# is in its own figures: docs/operations.md, "Watching".

locals {
  # Live events and clocks are late after a minute; rows and recovered events may wait for a CRM or for each other.
  patience_seconds = {
    for name, subscription in local.topology.subscriptions :
    name => contains(["call-events", "ticks"], subscription.topic) ? 60 : 900
  }
  watched = {
    ticks = {
      title = "Fewer than one tick in two seconds"
      filter = join(" AND ", [
        "resource.type = \"pubsub_topic\"",
        "resource.labels.topic_id = \"ticks\"",
        "metric.type = \"pubsub.googleapis.com/topic/send_message_operation_count\"",
      ])
      aligner    = "ALIGN_RATE"
      comparison = "COMPARISON_LT"
      threshold  = 0.5
      duration   = "300s"
      content    = "The worker pool `scheduler` is away; Cloud Scheduler ticks each minute instead, so rows and retries are up to a minute late. Look at the log of the pool; start it again by a new revision."
    }
    dead_letters = {
      title = "A message was given up"
      filter = join(" AND ", [
        "resource.type = \"pubsub_subscription\"",
        "metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\"",
      ])
      aligner    = "ALIGN_DELTA"
      comparison = "COMPARISON_GT"
      threshold  = 0
      duration   = "0s"
      content    = "Pub/Sub has tried it as often as the subscription allows. It is in `rejected_messages`, with its reason; events in it are stored. Read the reason, mend it, then `replay --source` (docs/operations.md, Replay). Dead letters of ticks need nothing."
    }
    failures = {
      title = "Functions answer 5xx through the load balancer"
      filter = join(" AND ", [
        "resource.type = \"https_lb_rule\"",
        "metric.type = \"loadbalancing.googleapis.com/https/request_count\"",
        "metric.labels.response_code_class = 500",
      ])
      share_of = join(" AND ", [
        "resource.type = \"https_lb_rule\"",
        "metric.type = \"loadbalancing.googleapis.com/https/request_count\"",
      ])
      aligner    = "ALIGN_DELTA"
      comparison = "COMPARISON_GT"
      threshold  = 0.01
      duration   = "120s"
      content    = "More than one request in a hundred. A host posts an event once: each 5xx of intake may be an event lost. Look at the log of `dispatch-call-event`, then at Cloud SQL and Pub/Sub."
    }
    connections = {
      title = "Connections to the database run short"
      filter = join(" AND ", [
        "resource.type = \"cloudsql_database\"",
        "metric.type = \"cloudsql.googleapis.com/database/postgresql/num_backends\"",
      ])
      aligner    = "ALIGN_MAX"
      comparison = "COMPARISON_GT"
      threshold  = floor(var.max_connections * 0.85)
      duration   = "300s"
      content    = "The sum over all instances fits by what Terraform checked, so something else holds connections, or two revisions serve at once. `SELECT usename, count(*) FROM pg_stat_activity GROUP BY 1`."
    }
    processor = {
      title = "The database has no processor left"
      filter = join(" AND ", [
        "resource.type = \"cloudsql_database\"",
        "metric.type = \"cloudsql.googleapis.com/database/cpu/utilization\"",
      ])
      aligner    = "ALIGN_MEAN"
      comparison = "COMPARISON_GT"
      threshold  = 0.8
      duration   = "600s"
      content    = "It is what runs short first (docs/deploy-cloud.md, Sizes): pop-ups come late next. Raise `database_tier`; that restarts the database, so at a quiet hour."
    }
    disk = {
      title = "The disk of the database fills"
      filter = join(" AND ", [
        "resource.type = \"cloudsql_database\"",
        "metric.type = \"cloudsql.googleapis.com/database/disk/utilization\"",
      ])
      aligner    = "ALIGN_MEAN"
      comparison = "COMPARISON_GT"
      threshold  = 0.85
      duration   = "600s"
      content    = "It grows by itself, up to the quota. Is retention at work (docs/operations.md, Retention)?"
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = toset(var.alert_emails)
  display_name = each.key
  type         = "email"
  labels       = { email_address = each.key }
}

resource "google_monitoring_alert_policy" "waiting" {
  for_each              = local.patience_seconds
  display_name          = "Messages of ${each.key} wait"
  combiner              = "OR"
  notification_channels = [for email in var.alert_emails : google_monitoring_notification_channel.email[email].id]

  conditions {
    display_name = "The oldest has waited for more than ${each.value} s"
    condition_threshold {
      filter = join(" AND ", [
        "resource.type = \"pubsub_subscription\"",
        "resource.labels.subscription_id = \"${each.key}\"",
        "metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = each.value
      duration        = "120s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Pushes to `${local.topology.subscriptions[each.key].function}` are refused or not made fast enough: its log says which. 401: the account or audience of pushes. 429 or no instance: its maximum is reached. 503: the database or Pub/Sub is away. Nothing is lost for seven days; pop-ups of this time are."
  }
}

resource "google_monitoring_alert_policy" "watched" {
  for_each              = local.watched
  display_name          = each.value.title
  combiner              = "OR"
  notification_channels = [for email in var.alert_emails : google_monitoring_notification_channel.email[email].id]

  conditions {
    display_name = each.value.title
    condition_threshold {
      filter             = each.value.filter
      denominator_filter = lookup(each.value, "share_of", null)
      comparison         = each.value.comparison
      threshold_value    = each.value.threshold
      duration           = each.value.duration

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = lookup(each.value, "share_of", null) == null ? null : "REDUCE_SUM"
      }

      dynamic "denominator_aggregations" {
        for_each = lookup(each.value, "share_of", null) == null ? [] : [1]
        content {
          alignment_period     = "60s"
          per_series_aligner   = each.value.aligner
          cross_series_reducer = "REDUCE_SUM"
        }
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.content
  }
}
