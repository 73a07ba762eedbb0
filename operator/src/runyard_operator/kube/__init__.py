"""The API server as the operator sees it: a small typed client with clear errors."""
