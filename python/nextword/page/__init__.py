"""The page of `nextword explain`: its static files, and the Python that answers it over HTTP or writes it as one file.

The page knows the calls of `answers.py` alone; `calls.py` computes them, `app.py` carries them, `single.py` embeds
them.
"""
