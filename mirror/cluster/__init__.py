"""What several mirrors share: ``objects`` is where chunks and files lie. Imported where there is a ``[cluster]``."""
