"""From the old system to this one (docs/moving.md): what its database holds becomes files as `provision` takes them."""
