"""News rankers: two towers over one text encoder, trained on impressions; NRMS, NAML, LSTUR and MINER differ in a tower each."""
