"""Networks as far from the zoo as independent trainings are: the experiment behind `21_new_networks`."""
