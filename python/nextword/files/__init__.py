"""What lies on disk as named arrays, and files that are written whole. Knows no architecture."""
