"""What of a device lies in the tree: its record, its readings, its app; and small files at all."""
