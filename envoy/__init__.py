"""The sidecar: one Envoy bootstrap, rendered from a description of what stands beside it."""
