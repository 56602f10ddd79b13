"""Sessions: one per request or stream."""
