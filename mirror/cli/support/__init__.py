"""What several commands share: the running mirror, output, progress, delivery of files."""
