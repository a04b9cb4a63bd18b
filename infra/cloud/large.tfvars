# What 10,000 enterprises need by the model (docs/deploy-cloud.md, "Sizes"): VARS=infra/cloud/large.tfvars, or a copy.
database_tier   = "db-custom-16-61440"
max_connections = 600
instances = {
  "retailcrm-deliver" = { min = 4, max = 24 }
  "retailcrm-upload"  = { min = 1, max = 10 }
}
