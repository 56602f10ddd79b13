"""From bytes to speech: samples, voice activity, where utterances begin and end."""
