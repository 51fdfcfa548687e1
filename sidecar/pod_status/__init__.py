"""Report the gate in the pod's condition and events."""
