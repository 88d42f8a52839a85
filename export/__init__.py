"""From a checkpoint to a sealed bundle: export, quantise, calibrate, measure, seal."""
