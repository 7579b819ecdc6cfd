"""Actors to copy from: each is one file that `bt run` takes as it is."""
