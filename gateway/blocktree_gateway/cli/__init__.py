"""The verbs of devices and gateways, one module each; registered as entry points."""
