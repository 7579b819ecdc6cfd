"""What joins a constrained device to its gateway: serial ports, UDP datagrams, TLS connections.

A link carries whole records (byte strings) in both directions and promises nothing: they may be
lost, doubled, late, forged. `session` makes order of them.
"""
