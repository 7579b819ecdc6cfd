"""The filesystem service: open, read, write and rename over the sector service.

`volume.py` is the interface that front ends stand on; `service.Filesystem` fulfils it. Proven by
`tests/files`, where random operations of two clients are compared with a plain model.
"""
