"""Interior point, home by home."""
