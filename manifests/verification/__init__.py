"""What the bytes of a set prove about its claims."""
