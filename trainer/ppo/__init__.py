"""PPO on a release. `loop.train` is the way in; `update` holds the mathematics."""
