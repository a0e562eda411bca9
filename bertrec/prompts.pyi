from bertrec.rankers.prompts import *
