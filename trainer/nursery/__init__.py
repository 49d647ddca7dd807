"""The nursery: generated tasks, a tiny model trained on them to partial competence, and the demo's inputs.

Only `trainer.nursery.train` needs torch; tasks and demo are plain Python.
"""
