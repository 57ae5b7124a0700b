"""The contract of our own API: its paths, and the JSON of what they take and answer."""
