"""SD card images: build, customise, flash, verify, boot."""
