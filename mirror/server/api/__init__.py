"""The mirror's own HTTP interface, one module per capability, named like the services behind them."""
