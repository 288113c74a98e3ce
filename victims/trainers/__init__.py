"""From a job to a victim: composes its training set, trains it with `victims.training`, asks for its predictions."""
