"""The verbs of `bt image`, one module each."""
