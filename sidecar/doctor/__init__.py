"""Say what is wrong here and how it is mended, beside a running sidecar or instead of it."""
