"""What temporal modules, windows, segments and loops do to a film whose truth is known.

    python -m tests.bench.ablations [--people N] [--frames N] [--processes N] [--kept FOLDER] [--plots FOLDER]

Prints Markdown tables and, with the extra `bench`, draws the plots. What is measured of each film is kept in a folder,
so that a bench that was ended goes on there. Two people of 128 frames take some 15 minutes of one core.
"""
