"""Models of the recogniser: the only package of the service that computes with torch."""
