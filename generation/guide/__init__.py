"""A guide voice reads the words; its features, warped, perform. No Django."""
