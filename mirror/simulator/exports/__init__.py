"""Files and exports of the simulator: storage units under /SUM, export requests, and what they leave behind.

    pixels, templates, archived   what a segment's file holds: made from formulas, the same bytes at every start
    units, staging                which file lies under which path, and what is brought online
    desk, ledger, planning        export requests: accepted, pending for a while, done
    products, cards, processing   the files of an export directory
    serving                       files on HTTP: HEAD, Range, faults in downloads

The files are made by astropy; nothing here is shared with the mirror's own assembly of FITS files.
"""
