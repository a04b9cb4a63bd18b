project      = "example"
domain       = "telephony.example.com"
image        = "europe-west1-docker.pkg.dev/example/gateway/gateway@sha256:0"
alert_emails = ["operator@example.com"]
