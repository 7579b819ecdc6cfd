"""Images and cards as they are: block maps, drives, writing with read-back, the settings file."""
