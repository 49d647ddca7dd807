"""A release in the form that other trainers read, each with a reward function that asks preppo.

`export.export_release` writes a folder: the rows in curriculum order (one file a phase where the trainer shuffles), the
reward as a file of its own (`preppo_reward.py`, which needs nothing but the standard library), a configuration or a
script to start with, and `export.json`, which says what is in it. One module a trainer; `rows`, `files` and `contract`
are shared. Importing this package loads nothing heavy: `preppo_reward` does so in other people's environments.
"""
