"""The engine: one thread, one model, many requests at once."""
