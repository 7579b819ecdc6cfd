"""What runs on the board at its start: settle what the card says, then join the tree."""
