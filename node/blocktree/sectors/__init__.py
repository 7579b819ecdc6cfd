"""Sectors: signed headers, hash pages, sealed sectors, directories, and the machine over them.

`SPEC.md` states bytes and rules; `tests/vectors/{header,sector,directory}` pin them.
"""
