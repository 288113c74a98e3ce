"""What every attack promises, checked on three tiny trials: for the suite, and for the authors of attacks elsewhere."""
