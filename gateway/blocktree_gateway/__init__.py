"""Device links, pairing and the actors that stand in for constrained devices."""
