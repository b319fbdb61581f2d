"""How a parameter is declared."""
