from voiceplatform.testing.voices import tiny_checkpoint  # noqa: F401
