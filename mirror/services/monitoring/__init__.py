"""What status, metrics and the pages show: counts, coverage maps, whether JSOC answers."""
