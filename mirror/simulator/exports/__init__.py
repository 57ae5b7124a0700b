"""Files and exports of the simulator: storage units under /SUM, export requests, and what they leave behind.

    pixels, rice, hdus, checksums, archived   what a segment's file holds: from formulas, the same at every start
    shelf, owners, staging                    which file lies under which path, whose it is, what came online
    desk, planning, ledger, storageunits      jsoc_fetch: requests are accepted, pending for a while, done
    products, names, cards                    the files of an export
    processing, pictures                      images cut out, made smaller, drawn, and put together as a film
    folders, contents, serving                its directory, and files on HTTP: HEAD, Range, faults in downloads
    recorded                                  exports and files that a recorded world brings along

astropy makes the files; nothing of the mirror's own assembly of FITS files is used here, so that the two
can be checked against each other.
"""
