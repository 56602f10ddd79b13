"""Licences, leases and usage."""
