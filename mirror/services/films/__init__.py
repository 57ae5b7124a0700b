"""Films: the images of a record set, one after the other, as MP4. ``films`` keeps the jobs, ``encoding`` runs ffmpeg."""
