"""Answer the probes and the product over HTTP."""
