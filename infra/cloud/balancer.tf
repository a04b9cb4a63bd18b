# What nginx is elsewhere, from the same list of routes: TLS, which path leads to which function, headers, bounds.

locals {
  page_path = local.rendered.page.path
  page_bare = trimsuffix(local.page_path, "/")
  # The addresses of the page itself, at which RetailCRM opens it with a link.
  openings = [local.page_path, "${local.page_path}index.html", local.page_bare]

  routes_of = {
    for name in local.public : name => [for route in local.rendered.routes : route.path if route.function == name]
  }
  # In the order in which they are tried. A match is `full` or `prefix`, with a method or with a token in the query.
  route_rules = concat(
    [{
      function = local.rendered.page.function
      rewrite  = local.page_path
      again    = false
      matches = flatten([for path in local.openings : [
        { full = path, prefix = null, method = "POST", token = false },
        { full = path, prefix = null, method = "GET", token = true },
      ]])
    }],
    [for name, paths in local.routes_of : {
      function = name
      rewrite  = null
      # Intake takes an event twice without harm, and hosts post it once.
      again = name == "dispatch-call-event"
      matches = [for path in paths : {
        full = endswith(path, "/") ? null : path, prefix = endswith(path, "/") ? path : null, method = null, token = false
      }]
    }],
    [for pair in setproduct(local.public, ["health", "stats"]) : {
      function = pair[0]
      rewrite  = "/${pair[1]}"
      again    = false
      matches  = [{ full = "/${pair[1]}/${pair[0]}", prefix = null, method = null, token = false }]
    }],
  )
}

resource "google_compute_global_address" "gateway" {
  name = "gateway"
}

resource "google_compute_managed_ssl_certificate" "gateway" {
  name = "gateway"
  managed {
    domains = [var.domain]
  }
}

resource "google_compute_region_network_endpoint_group" "function" {
  for_each              = local.public
  name                  = each.key
  region                = var.region
  network_endpoint_type = "SERVERLESS"
  cloud_run {
    service = google_cloud_run_v2_service.function[each.key].name
  }
}

resource "google_compute_backend_service" "function" {
  for_each                = local.public
  name                    = each.key
  protocol                = "HTTPS"
  load_balancing_scheme   = "EXTERNAL_MANAGED"
  security_policy         = google_compute_security_policy.gateway.id
  custom_response_headers = [for name, value in local.rendered.headers : "${name}: ${value}"]

  backend {
    group = google_compute_region_network_endpoint_group.function[each.key].id
  }

  # Its log would have queries, and those hold account links and client ids.
  log_config {
    enable = false
  }
}

resource "google_compute_backend_bucket" "page" {
  name                    = "page"
  bucket_name             = google_storage_bucket.page.name
  load_balancing_scheme   = "EXTERNAL_MANAGED"
  compression_mode        = "AUTOMATIC"
  custom_response_headers = [for name, value in local.rendered.page.headers : "${name}: ${value}"]
}

resource "google_compute_security_policy" "gateway" {
  name = "gateway"

  rule {
    description = "What one address may ask for, counted over ten seconds"
    priority    = 1000
    action      = "throttle"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      enforce_on_key = "IP"
      conform_action = "allow"
      exceed_action  = "deny(429)"
      rate_limit_threshold {
        count        = local.rendered.requests_per_second * 10
        interval_sec = 10
      }
    }
  }

  rule {
    description = "Everything else"
    priority    = 2147483647
    action      = "allow"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }
}

resource "google_compute_url_map" "gateway" {
  name            = "gateway"
  default_service = google_compute_backend_bucket.page.id

  host_rule {
    hosts        = ["*"]
    path_matcher = "gateway"
  }

  path_matcher {
    name            = "gateway"
    default_service = google_compute_backend_bucket.page.id

    dynamic "route_rules" {
      for_each = local.route_rules
      content {
        priority = 10 + route_rules.key
        service  = google_compute_backend_service.function[route_rules.value.function].id

        dynamic "match_rules" {
          for_each = route_rules.value.matches
          content {
            full_path_match = match_rules.value.full
            prefix_match    = match_rules.value.prefix

            dynamic "header_matches" {
              for_each = match_rules.value.method == null ? [] : [match_rules.value.method]
              content {
                header_name = ":method"
                exact_match = header_matches.value
              }
            }

            dynamic "query_parameter_matches" {
              for_each = match_rules.value.token ? ["token"] : []
              content {
                name          = query_parameter_matches.value
                present_match = true
              }
            }
          }
        }

        dynamic "route_action" {
          for_each = route_rules.value.rewrite == null && !route_rules.value.again ? [] : [route_rules.value]
          content {
            dynamic "url_rewrite" {
              for_each = route_action.value.rewrite == null ? [] : [route_action.value.rewrite]
              content {
                path_prefix_rewrite = url_rewrite.value
              }
            }
            dynamic "retry_policy" {
              for_each = route_action.value.again ? [1] : []
              content {
                num_retries      = retry_policy.value
                retry_conditions = ["gateway-error", "connect-failure"]
              }
            }
          }
        }
      }
    }

    route_rules {
      priority = 500
      match_rules {
        full_path_match = local.page_bare
      }
      url_redirect {
        path_redirect          = local.page_path
        redirect_response_code = "SEE_OTHER"
      }
    }
  }

  # Google asks these of the map before it is used.
  dynamic "test" {
    for_each = local.rendered.routes
    content {
      host    = var.domain
      path    = endswith(test.value.path, "/") ? "${test.value.path}x" : test.value.path
      service = google_compute_backend_service.function[test.value.function].id
    }
  }
}

resource "google_compute_target_https_proxy" "gateway" {
  name             = "gateway"
  url_map          = google_compute_url_map.gateway.id
  ssl_certificates = [google_compute_managed_ssl_certificate.gateway.id]
  ssl_policy       = google_compute_ssl_policy.gateway.id
}

resource "google_compute_ssl_policy" "gateway" {
  name            = "gateway"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
}

resource "google_compute_global_forwarding_rule" "https" {
  name                  = "gateway-https"
  target                = google_compute_target_https_proxy.gateway.id
  ip_address            = google_compute_global_address.gateway.address
  port_range            = "443"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}

# Browsers are sent on to https; a host that posts by http is answered with a redirect, which it must not follow.
resource "google_compute_url_map" "http" {
  name = "gateway-http"
  default_url_redirect {
    https_redirect         = true
    redirect_response_code = "MOVED_PERMANENTLY_DEFAULT"
    strip_query            = false
  }
}

resource "google_compute_target_http_proxy" "http" {
  name    = "gateway-http"
  url_map = google_compute_url_map.http.id
}

resource "google_compute_global_forwarding_rule" "http" {
  name                  = "gateway-http"
  target                = google_compute_target_http_proxy.http.id
  ip_address            = google_compute_global_address.gateway.address
  port_range            = "80"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}
