"""Speech to text: the recogniser engine and its gRPC service."""
