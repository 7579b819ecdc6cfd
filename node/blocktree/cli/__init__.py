"""The command line: one module a verb, on top of the same pieces every process is made of."""
