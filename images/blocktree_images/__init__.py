"""SD-card images: build, customise, flash, verify, boot; and the first start on the board."""
