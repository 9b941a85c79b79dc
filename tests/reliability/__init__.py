"""Runs that are killed, disks that fail, files that rot: what must hold when something goes wrong."""
