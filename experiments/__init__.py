"""What the notebooks run: recipes, sweeps, costs and reports, with the library `rpglib` beneath."""
