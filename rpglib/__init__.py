"""Networks that write networks: a reproduction of recurrent diffusion for parameter generation (RPG)."""
