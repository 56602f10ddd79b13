"""What speaks: text to audio, whole or as it comes."""
