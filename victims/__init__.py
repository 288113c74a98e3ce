"""Victims: train on a poison set that lies on disk, and count what the poisons achieve."""
