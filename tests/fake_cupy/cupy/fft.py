"""Empty: array_api_compat imports the module, and nothing uses it."""
