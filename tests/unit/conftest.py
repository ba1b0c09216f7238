"""Laws are judged by what they find, not by how fast a busy machine is."""

from hypothesis import settings

settings.register_profile("herotill", deadline=None)
settings.load_profile("herotill")
