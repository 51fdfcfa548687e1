"""Which task or pod are we, in which region? Nothing is guessed; a contradiction is an error."""
