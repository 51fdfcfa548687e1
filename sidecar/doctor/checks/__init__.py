"""One module for each check: its rule, its fixes, and `check(context)`, which returns one finding."""
