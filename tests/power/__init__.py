"""Power loss and failing disks under the real ledger: what was acknowledged is there afterwards.

`python -m tests.power --cuts 10000 --seed 1` records real processes that write a ledger and kept files, and opens what
a disk could hold after the power failed at any point of it.
"""
