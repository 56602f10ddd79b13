"""From text as people write it to the phonemes a voice speaks; no model, no network."""
