"""Settings of all tests."""

from hypothesis import settings

# A test says what is right, not how fast: on a busy machine the first example alone may take a second.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
