"""From decoder results to what the caller reads."""
