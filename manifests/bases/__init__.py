"""Base datasets: the clean images that poisons are made from and victims train on."""
