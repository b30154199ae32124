"""The steps of instrument signature removal, one file each."""
