"""Lyrics to a score: pronunciation, syllables, melody, rap flow, beats. No Django."""
