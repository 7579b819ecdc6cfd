"""The sector service: the actor that joins raft, sectors, disk and link. `SPEC.md` says how."""
