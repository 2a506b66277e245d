from voiceplatform.testing.voices import tiny_checkpoint  # noqa: F401
from voices.testing.accounts import far_end  # noqa: F401
