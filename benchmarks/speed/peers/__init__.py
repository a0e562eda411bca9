"""What peers are measured with: sides (standard library and that peer alone), requirements, and `exchange`, our end of the files."""
