"""Real sidecars that are killed, stopped and told to end under load: AWS's bill is what was acknowledged.

`python -m tests.crashes --kills 1000 --seed 1`
"""
