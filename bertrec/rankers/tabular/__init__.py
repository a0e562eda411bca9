"""Click-through-rate models over features of user, moment and candidate: DIN, DCN, and CTRL, which aligns one of them with texts."""
