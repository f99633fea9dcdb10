"""``tapebook serve``: a web page of the recorder, in a process of its own that only reads."""
