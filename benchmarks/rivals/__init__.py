"""What a user would pick instead, measured on the same files with the same splits."""
