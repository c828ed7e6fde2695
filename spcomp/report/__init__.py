"""Reports: what was decided and measured, in the terminal, as HTML and as data."""
