"""How hypothesis runs here."""

from hypothesis import settings

# A busy machine is no reason to fail: examples have no deadline of their own, pytest's timeout bounds the test.
settings.register_profile("sharemesh", deadline=None)
settings.load_profile("sharemesh")
