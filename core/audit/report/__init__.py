"""What an audit has found, in sections for a reader: on the terminal, and as one page of HTML."""
