"""How an image comes to be: one module a step, each kept by the hash of its inputs."""
