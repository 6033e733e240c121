"""A recogniser and a speaker model, tiny, without a download."""
