"""One run from the request to its reports: what run.py calls by name."""
