"""The mirror's own HTTP interface, a module a capability, named as the services behind them."""
