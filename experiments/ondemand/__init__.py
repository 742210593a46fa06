"""Small networks for how images are taken, written at once: the experiment behind `22_networks_on_demand`."""
