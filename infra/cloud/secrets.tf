# Secrets are made at the first apply and are in Secret Manager only: neither the state nor a plan has them. A new version
# is added there by a person (docs/deploy-cloud.md, "Secrets"); an apply never replaces one.

locals {
  # By what the environment calls it.
  secret_ids = {
    for name in concat(["DATABASE_ADMIN_PASSWORD", "OPERATOR_TOKEN", "ACCOUNT_LINK_SECRET", "VAULT_KEYS"], values(local.rendered.roles)) :
    name => lower(replace(name, "_", "-"))
  }
}

ephemeral "random_password" "secret" {
  for_each = toset(values(local.secret_ids))
  length   = 32
  special  = false
}

resource "google_secret_manager_secret" "secret" {
  for_each  = toset(values(local.secret_ids))
  secret_id = each.key

  replication {
    auto {}
  }

  # Without the keys of the vault the API keys of all enterprises are worth nothing.
  lifecycle {
    prevent_destroy = true
  }
}

resource "google_secret_manager_secret_version" "secret" {
  for_each = toset(values(local.secret_ids))
  secret   = google_secret_manager_secret.secret[each.key].id
  # Of the vault: an id, and 32 bytes in base64.
  secret_data_wo = (
    each.key == "vault-keys"
    ? "first:${base64encode(ephemeral.random_password.secret[each.key].result)}"
    : ephemeral.random_password.secret[each.key].result
  )
  secret_data_wo_version = 1

  lifecycle {
    prevent_destroy = true
  }
}
