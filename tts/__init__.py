"""Text to speech: text and phonemes, the synthesis engine and its gRPC service."""
