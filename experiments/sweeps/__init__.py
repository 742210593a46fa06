"""The paper's ablations and analyses: sweeps over one base recipe, and the measures, tables and figures of each."""
