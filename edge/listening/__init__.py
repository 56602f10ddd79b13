"""What hears: recordings and live audio to transcripts."""
