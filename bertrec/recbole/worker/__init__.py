"""What runs inside RecBole's own process: nothing here is imported by the rest of the package."""
