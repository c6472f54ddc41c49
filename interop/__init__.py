"""The server: hub, market, signals, dispatch, store, security, web and command line."""
