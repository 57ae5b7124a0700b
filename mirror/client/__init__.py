"""What scripts import: ``redirect`` points drms and sunpy to a mirror, ``remote`` asks one for data frames."""
