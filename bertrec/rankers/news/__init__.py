"""News rankers: two towers over one text encoder, trained on impressions: NRMS, NAML, LSTUR, MINER."""
