"""The console: server-rendered pages over the shapes of the HTTP API. It shows and asks; it decides nothing."""
