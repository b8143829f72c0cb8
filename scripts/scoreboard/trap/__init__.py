"""An internet of one machine: every address is here, names answer as a case wants, and every packet is seen."""
