"""What scripts import: ``redirect`` points drms and sunpy at a mirror, ``remote`` asks one for data frames."""
