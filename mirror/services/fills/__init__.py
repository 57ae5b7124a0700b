"""Large fetches that somebody asked for: cut into chunks, listed, cancelled, resumed.

Read ``fills``; ``gaps`` says what a record set lacks.
"""
