"""Official files in, model folders out."""
