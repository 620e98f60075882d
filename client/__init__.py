"""The command line client: sends a folder to the portal with an upload token. The standard library alone, nothing of the portal."""
