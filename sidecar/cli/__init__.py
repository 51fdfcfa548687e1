"""Run the commands: what each one reads, prints and returns."""
