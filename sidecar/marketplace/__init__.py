"""What did AWS answer? Turns a reply or an error of the SDK into a value."""
