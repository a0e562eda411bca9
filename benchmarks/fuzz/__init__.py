"""Files of every kind that bertrec reads, damaged at random: what it makes of them is right, refused in one line, or a fault."""
