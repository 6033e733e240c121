"""Signal processing: plain functions."""
